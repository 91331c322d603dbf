"""Two ranks with a slow link between them, on one machine: what a step takes, beside what the formula says.

    python tests/bench/links.py TEXT [--rate 12.5] [--delay 1] [--hidden-size 256] [--steps 48]

Needs Linux and root: each rank has a network namespace of its own and one core. The link is two TUN devices, between which this
program carries packets, ``--rate`` million bytes a second each way and ``--delay`` milliseconds late. A step of P weights and
k ranks should take s / k + 8 P (k - 1) / (k B) + 2 (k - 1) d seconds: s those of one process, B bytes a second, d the delay.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import itertools
import json
import os
import selectors
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

NAMESPACES = ("charrnn-link-0", "charrnn-link-1")
ADDRESSES = ("10.77.0.1", "10.77.0.2")
DEVICE, LARGEST_PACKET = "wire0", 32768
LIMIT = 100.0
"""Seconds after which ranks are given up."""
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("text", type=Path)
    parser.add_argument("--rate", type=float, nargs="+", default=[100.0, 25.0, 12.5], help="million bytes a second")
    parser.add_argument("--delay", type=float, default=1.0, help="milliseconds")
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=48)
    options = parser.parse_args()
    words = ["train", str(options.text.resolve()), "--steps", str(options.steps), "--hidden-size", str(options.hidden_size)]
    words += ["--batch-size", "64", "--eval-every", "1000000", "--val-fraction", "0.005", "--device", "cpu", "--workers", "1"]
    words += ["--log-every", "16", "--json", "-q"]
    with tempfile.TemporaryDirectory() as folder:
        start, alone = trained((core(0), sys.executable, "-m", "charrnn", *words), Path(folder, "alone"))
        weights = start["parameters"]
        print(f"{weights:,} weights; {alone:.3f} s a step by one process on one core", flush=True)
        for rate in options.rate:
            with link(rate * 1e6, options.delay / 1e3):
                for every in (1, 16):
                    out = Path(folder, f"{rate}-{every}")
                    seconds = by_two_ranks([*words, *(["--average-every", str(every)] if every > 1 else [])], out)
                    formula = alone / 2 + 4 * weights / (rate * 1e6) + 2 * options.delay / 1e3
                    row = f"rate {rate:5.1f} MB/s  average every {every:2d}  {seconds:.3f} s a step"
                    print(row if every > 1 else f"{row}, by the formula {formula:.3f}", flush=True)


def core(number: int) -> str:
    """What pins a command to one core."""
    cores = sorted(os.sched_getaffinity(0))
    return f"taskset -c {cores[number % len(cores)]} env OMP_NUM_THREADS=1"


def trained(command: tuple[str, ...], out: Path) -> tuple[dict[str, int], float]:
    """The first event of a run and the seconds of a step."""
    first, *rest = command
    done = subprocess.run([*first.split(), *rest, "--out", str(out)], capture_output=True, text=True, check=True, timeout=LIMIT)
    return measured(done.stdout)


def measured(stdout: str) -> tuple[dict[str, int], float]:
    """The first event and the seconds of a step, the first step left out."""
    events = [json.loads(line) for line in stdout.splitlines()]
    steps = [event for event in events if event["event"] == "step"]
    characters = 64 * 64
    made = [(after["step"] - before["step"], after) for before, after in itertools.pairwise(steps)]
    seconds = sum(count * characters / event["chars_per_second"] for count, event in made)
    return events[0], seconds / sum(count for count, _ in made)


def by_two_ranks(words: list[str], out: Path) -> float:
    """The seconds of a step of two ranks, one in each namespace."""
    ranks = []
    for number, namespace in enumerate(NAMESPACES):
        inside = f"ip netns exec {namespace} {core(number)} GLOO_SOCKET_IFNAME={DEVICE}"
        launch = f"{sys.executable} -m torch.distributed.run --nnodes 2 --nproc-per-node 1 --node-rank {number}"
        launch += f" --master-addr {ADDRESSES[0]} --master-port 29731 -m charrnn"
        command = [*inside.split(), *launch.split(), *words, "--out", str(out)]
        ranks.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    try:
        stdout, stderr = ranks[0].communicate(timeout=LIMIT)
        if ranks[0].returncode:
            sys.exit(stderr)
        return measured(stdout)[1]
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()


@contextlib.contextmanager
def link(rate: float, delay: float) -> Iterator[None]:
    """Two namespaces that see each other by a link of ``rate`` bytes a second, each way, and ``delay`` seconds."""
    ended, carriers, ends = threading.Event(), list[threading.Thread](), list[int]()
    try:
        ends += [tun(namespace, address) for namespace, address in zip(NAMESPACES, ADDRESSES, strict=True)]
        for here, there in (ends, ends[::-1]):
            carriers.append(threading.Thread(target=carry, args=(here, there, rate, delay, ended)))
            carriers[-1].start()
        yield
    finally:
        ended.set()
        for carrier in carriers:
            carrier.join()
        for end in ends:
            os.close(end)
        for namespace in NAMESPACES:
            subprocess.run(["ip", "netns", "delete", namespace], check=False, capture_output=True)


def tun(namespace: str, address: str) -> int:
    """A namespace with a device at an ``address``; what it sends can be read from the file that is returned."""
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    name = namespace[-15:]
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    inside = ("ip", "-n", namespace)
    subprocess.run(["ip", "link", "set", name, "netns", namespace, "name", DEVICE], check=True)
    subprocess.run([*inside, "address", "add", f"{address}/24", "dev", DEVICE], check=True)
    subprocess.run([*inside, "link", "set", "dev", "lo", "up"], check=True)
    subprocess.run([*inside, "link", "set", "dev", DEVICE, "mtu", str(LARGEST_PACKET), "txqueuelen", "1000", "up"], check=True)
    return file


def carry(here: int, there: int, rate: float, delay: float, ended: threading.Event) -> None:
    """Take packets from ``here`` to ``there`` until it is ``ended``."""
    under_way, free_at = deque[tuple[float, bytes]](), 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(here, selectors.EVENT_READ)
        while not ended.is_set():
            wait = max(under_way[0][0] - time.monotonic(), 0) if under_way else 0.05
            if selector.select(min(wait, 0.05)):
                packet, now = os.read(here, 65536), time.monotonic()
                free_at = max(now, free_at) + len(packet) / rate
                under_way.append((free_at + delay, packet))
            while under_way and under_way[0][0] <= time.monotonic():
                with contextlib.suppress(OSError):  # A full device drops it, as a wire would.
                    os.write(there, under_way.popleft()[1])


if __name__ == "__main__":
    main()
