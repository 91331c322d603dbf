"""From declarations to options and back; the verbs' own options are tested with the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from conftest import FABLES

from charrnn import UsageError
from charrnn.cli import options
from charrnn.cli.options import After, Given
from charrnn.config import FITTED, ModelConfig, SampleConfig, TrainConfig
from charrnn.declaration import declared
from charrnn.training import recipe

Received = dict[str, Any]


@pytest.fixture
def received() -> Received:
    return {}


@pytest.fixture
def app(received: Received) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    @options.command
    def draw(
        *,
        text: Annotated[str, typer.Argument()],
        config: SampleConfig,
        loud: Annotated[bool, typer.Option("--loud"), After("lines")] = False,
        model: Given[ModelConfig],
    ) -> None:
        received.update(text=text, config=config, loud=loud, model=model)

    return app


def test_a_verb_receives_settings_or_only_those_that_were_given(app: typer.Typer, received: Received) -> None:
    call = ["x", "--loud", "--temp", "0.5:1", "-n", "7", "--layers", "2"]
    app(call, standalone_mode=False)
    assert received == {
        "text": "x",
        "config": SampleConfig(temperature=0.5, temperature_end=1.0, length=7),
        "loud": True,
        "model": Given({"num_layers": 2}),
    }


def test_auto_is_none_that_was_given() -> None:
    received: Received = {}

    def verb(*, training: Given[TrainConfig]) -> None:
        received.update(training.values)

    app = typer.Typer()
    app.command()(options.command(verb))
    app(["--workers", "auto", "--lr", "0.5", "--steps", "3"], standalone_mode=False)
    assert list(received.items()) == [("steps", 3), ("lr", 0.5), ("workers", None)]


def test_a_value_beyond_its_limits_is_refused_where_it_was_typed(app: typer.Typer) -> None:
    with pytest.raises(UsageError, match=r"^--top-k must be a whole number of at least 1 and at most "):
        app(["x", "--top-k", "0"], standalone_mode=False)


def test_options_stand_in_the_order_of_the_panels_and_a_verbs_own_where_it_says(app: typer.Typer) -> None:
    command: Any = typer.main.get_command(app)
    names = [parameter.name for parameter in command.params]
    assert names.index("cell") < names.index("repetition_penalty") < names.index("num_samples") < names.index("length")
    assert names[names.index("lines") + 1] == "loud"


def test_a_default_that_the_recipe_chooses_is_not_shown_as_a_number_of_the_declaration() -> None:
    for name in sorted(recipe.CHOSEN):
        config = ModelConfig if name in ModelConfig.__dataclass_fields__ else TrainConfig
        setting = declared(config, name)
        assert setting.metadata["option"].shown is not None or setting.default == recipe.FIXED[name]
    assert declared(ModelConfig, "hidden_size").metadata["option"].shown == FITTED
    assert f"{recipe.SOAP_CHARACTERS:,}" in declared(TrainConfig, "optimizer").metadata["option"].shown


@pytest.mark.parametrize(
    "line",
    [
        "train text --out",
        "train --resume",
        "train text --init-from",
        "sample --prompt-file",
        "sample --prompts",
        "sample --copied-from",
        "sample --out-dir",
        "sample --save-state",
        "sample -c",
        "score text --checkpoint",
        "score",
        "inspect --file",
        "inspect --memory -c text -c",
        "inspect x --svg",
        "info",
    ],
)
def test_an_empty_name_is_not_the_current_directory(
    line: str, invoke: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARRNN_CHECKPOINT", str(FABLES))
    (tmp_path / "text").write_text("Once upon a time\n" * 9)
    done = invoke(*line.split(), "")
    assert done.code == 2
    assert "empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
