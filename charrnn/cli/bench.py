"""``charrnn bench``: how fast this machine is."""

from __future__ import annotations

import dataclasses

from charrnn.cli.options import Json
from charrnn.cli.process import limit_threads
from charrnn.config import BenchConfig


def bench(*, config: BenchConfig, as_json: Json = False) -> None:
    """Measure this machine: training, sampling, reading, starting; each beside a plain torch.nn loop."""
    limit_threads(libraries=("OPENBLAS",))  # MKL's would be torch's too, which trains with all of them.
    from charrnn.output import notation, tables
    from charrnn.output.console import Console
    from charrnn.output.notation import json_line
    from charrnn.training import bench as benchmarks

    console, figures = Console(), []
    machine = benchmarks.machine()
    if as_json:
        console.product(json_line({"group": "machine", **machine}), flush=True)
    for figure in benchmarks.measure(config.seconds, config.rounds):
        figures.append(dataclasses.asdict(figure))
        if as_json:
            console.product(json_line(figures[-1]), flush=True)
        else:
            console.say(f"charrnn: {figure.group}: {figure.name} {notation.three_digits(figure.median)} {figure.unit}")
    if not as_json:
        console.product(notation.bench_heading(machine))
        console.table(tables.bench_table(figures, framed=console.stdout_is_terminal))
    console.finish()
