"""The page of `charrnn inspect --html`: what stands in it, and what a real browser makes of it."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import chromium
import numpy as np
import pytest
from conftest import ROOT

from charrnn.analysis import traces
from charrnn.analysis.features import random_network
from charrnn.analysis.hidden import Statistics
from charrnn.analysis.traces import Inspection
from charrnn.config import GATES, ModelConfig
from charrnn.network import checkpoint
from charrnn.network.cells import LayerTrace, Network
from charrnn.network.checkpoint import Checkpoint
from charrnn.output import charts, page
from charrnn.text.vocabulary import Vocabulary

HOSTILE = "<script>alert('text')</script>\n</script><img src=x onerror=alert(1)> {{ 7 * 7 }} &lt; \"q\" ]]> <!-- \u2028\n" * 4
MEMORY = [
    {
        "label": "<b>lstm</b>",
        "lags": list(range(51)),
        "gradient": [0.5 * 0.9**k for k in range(51)],
        "half_life": 6.6,
        "below_1_percent": 44,
        "withheld_lags": list(range(1, 51)),
        "withheld": [2 * 0.8**k for k in range(50)],
        "smallest_within_1_percent": 21,
    },
    {
        "label": "rnn",
        "lags": list(range(51)),
        "gradient": [0.5**k for k in range(51)],
        "half_life": 1.0,
        "below_1_percent": 7,
        "withheld_lags": list(range(1, 51)),
        "withheld": [2 * 0.5**k for k in range(50)],
        "smallest_within_1_percent": None,
    },
]


def inspected(text: str, cell: str = "lstm", layers: int = 1, hidden: int = 12, corpus: str = "tale") -> Inspection:
    vocabulary = Vocabulary("char", "".join(sorted(set(text))))
    config = ModelConfig(vocabulary.size, cell=cell, embedding_size=6, hidden_size=hidden, num_layers=layers)
    network = random_network(config, np.random.default_rng(0))
    trained = Checkpoint(config, vocabulary, {"corpus": corpus}, path=Path("runs/<i>tale</i>/best.safetensors"))
    return traces.inspect(trained, network, traces.given(text, trained, network))


@pytest.fixture(scope="module")
def shipped() -> Inspection:
    trained = checkpoint.read(ROOT / "checkpoints/fables/best.safetensors")
    network = Network(trained.model, trained.weights)
    data = (ROOT / "corpora/fables.txt").read_bytes()[-6000:].decode()
    return traces.inspect(trained, network, traces.given(data, trained, network))


def data_of(html: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_page_of_the_shipped_network_is_below_two_megabytes_and_fetches_nothing(shipped: Inspection) -> None:
    html = page.render(shipped, traces.history(shipped.trained.path), MEMORY)
    assert len(html.encode()) < 2_000_000
    assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?(?!data:)[a-z/]", html)
    assert "://" not in html.replace("http://www.w3.org/2000/svg", "")  # a name, nothing that is loaded
    assert 'aria-label="loss curve"' in html


@pytest.mark.parametrize(("layers", "hidden"), [(2, 1100), (4, 64)])
def test_large_networks_keep_to_the_size_by_showing_less(layers: int, hidden: int) -> None:
    found, rng = inspected("ab\n" * 300, "rnn"), np.random.default_rng(0)
    layers_traced = [LayerTrace(rng.uniform(-1, 1, (900, 1, hidden)).astype(np.float32), None, {}) for _ in range(layers)]
    statistics = [Statistics() for _ in layers_traced]
    for layer, trace in zip(statistics, layers_traced, strict=True):
        layer.add(trace)
    model = replace(found.trained.model, hidden_size=hidden, num_layers=layers)
    large = replace(found, trained=replace(found.trained, model=model), traces=layers_traced, layers=statistics, findings=[])
    html = page.render(large)
    data = data_of(html)
    assert len(html.encode()) < 2_000_000
    assert len(data["text"]) == (500 if layers * hidden > 2000 else 900)
    assert len(data["units"]) == min(layers * hidden, 2000)
    assert len(base64.b64decode(data["states"])) == len(data["units"]) * len(data["text"])


@pytest.mark.parametrize("cell", list(GATES))
def test_the_pages_numbers_are_those_of_the_inspection(cell: str) -> None:
    found = inspected('He said: "a b"\n' * 20, cell, layers=2)
    data = data_of(page.render(found))
    S = len(data["text"])
    assert "".join(data["text"]) == found.text.characters
    states = np.frombuffer(base64.b64decode(data["states"]), dtype=np.int8).reshape(-1, S)
    for row, name in enumerate(data["units"]):
        layer, unit = map(int, name.split(":"))
        np.testing.assert_allclose(states[row] / 127, found.traces[layer].h[:, 0, unit], atol=0.5 / 127 + 1e-6)
    np.testing.assert_allclose(data["bits"], found.bits, atol=0.005 + 1e-6)
    np.testing.assert_array_equal(data["likeliest"], found.likeliest)
    for layer, gates in enumerate(data["gates"]):
        assert list(gates) == list(found.traces[layer].gates)
        for letter, means in gates.items():
            values = found.traces[layer].gates[letter][:, 0]
            np.testing.assert_allclose(means, (np.abs(values) if letter in "gn" else values).mean(axis=1), atol=0.005 + 1e-6)


def test_nothing_of_a_hostile_text_name_or_label_is_markup() -> None:
    html = page.render(inspected(HOSTILE, corpus="</title><script>alert(2)</script>"), (), MEMORY)
    assert data_of(html)["text"] == list(HOSTILE)
    assert html.count("<script") == 2  # the data and the page's own
    assert html.count("</script>") == 2
    assert "<img" not in html
    assert "<b>lstm" not in html
    assert "<i>tale" not in html
    assert "{{ 7 * 7 }}" in html


def test_a_chart_is_left_out_where_there_is_nothing_to_draw() -> None:
    bare = page.render(inspected("abc", "rnn"))
    for heading in ("How it learned", "How far back it remembers", "Gates, unit by unit"):
        assert heading not in bare
    gru = page.render(inspected("abc", "gru"))
    assert [f'aria-label="saturation of gate {letter}"' in gru for letter in "rzif"] == [True, True, False, False]
    whole = page.render(inspected("abc"), [{"event": "step", "step": n, "bits_per_char": 4.0 - n} for n in (1, 2)], MEMORY)
    for label in (
        "loss curve",
        "gradient",
        "withheld",
        "time constants of the units",
        *(f"saturation of gate {gate}" for gate in "ifo"),
    ):
        assert f'aria-label="{label}"' in whole


def lines_of(figure: page.Figure | None) -> list[list[tuple[float, float]]]:
    """The points of every curve of a figure."""
    assert figure is not None
    lines = re.findall(r'<polyline points="([^"]+)"', figure.drawn)
    return [[(float(x), float(y)) for x, y in (pair.split(",") for pair in line.split())] for line in lines]


def test_the_loss_curve_is_drawn_to_scale_and_goes_on_from_where_a_run_went_back_to() -> None:
    events = [
        {"event": "step", "step": step, "bits_per_char": bits}
        for step, bits in ((0, 4.0), (50, 3.0), (80, 9.0), (60, 3.0), (100, 2.0))
    ]
    (points,) = lines_of(page.loss_figure([*events, {"event": "step", "step": 110, "bits_per_char": None}]))
    assert len(points) == 4  # of 80 training went back
    (x0, y0), (x1, y1), _, (x3, y3) = points
    # From step 1 (which 0 is drawn as) to 100 the axis is logarithmic.
    assert (x1 - x0) / (x3 - x0) == pytest.approx(np.log10(50) / 2, abs=1e-2)
    assert (y1 - y0) / (y3 - y0) == pytest.approx(0.5, abs=1e-2)
    assert (x0, y0) == (page._PANEL[0], page._PANEL[1])  # The first loss is not cut off.
    assert page.loss_figure([]) is None
    assert page.loss_figure(events[:1]) is None


def test_validation_is_a_curve_of_its_own_with_a_dot_per_evaluation() -> None:
    events = [{"event": "step", "step": step, "bits_per_char": 3.0 - step / 100} for step in range(0, 101, 10)]
    evaluated = [{"event": "eval", "step": step, "val_bits_per_char": 2.5} for step in (50, 100)]
    figure = page.loss_figure([*events, *evaluated])
    _, validation = lines_of(figure)
    assert figure is not None
    dots = re.findall(r"M([\d.]+) ([\d.]+)h0", figure.drawn)
    assert [(float(x), float(y)) for x, y in dots] == validation


def test_a_loss_of_nearly_nothing_has_an_axis_too() -> None:
    events = [{"event": "step", "step": step, "bits_per_char": bits} for step, bits in ((0, 0.2), (1, 0.001), (2, 0.0))]
    assert "NaN" not in page.Markup(page.loss_figure(events))


def test_the_pages_memory_curves_are_those_of_the_picture() -> None:
    gradient, withheld = page.memory_figures(MEMORY)
    (x0, y0), (x1, y1), *_, (x2, y2) = lines_of(gradient)[0]
    assert (y2 - y0) / (y1 - y0) == pytest.approx((x2 - x0) / (x1 - x0), rel=0.1)  # an exponential is a straight line
    assert lines_of(gradient)[1][0] == (x0, y0)
    left, top, width, height = page._PANEL
    for figure, curves in ((gradient, charts.gradient_curves(MEMORY)), (withheld, charts.withheld_curves(MEMORY))):
        for line, curve in zip(lines_of(figure), curves.curves, strict=True):
            expected = [(left + x * width, top + (1 - y) * height) for piece in curves.placed(curve) for x, y in piece]
            np.testing.assert_allclose(line, expected, atol=0.051)
    assert page.memory_figures([]) == []


def test_the_page_explains_its_words_and_gives_one_answer() -> None:
    html = page.render(inspected("abc\n" * 40), (), MEMORY[:1], memory_text="this text")
    for word in ("hidden state", "unit", "gate", "0:0c"):
        assert f"<dt>{word}</dt>" in html
    assert "<strong>21 characters</strong>" in html
    assert "gradient below 1&nbsp;% after 44 characters" in html
    assert html.index("How far back it remembers") < html.index("States and gates")
    assert "Measured on this text." in html
    assert "random networks do this too" in html
    assert "no better than chance" not in html
    assert "0:0c" not in page.render(inspected("abc\n" * 40, "gru"))
    assert "<dt>gate</dt>" not in page.render(inspected("abc\n" * 40, "rnn"))


def test_the_gates_of_single_units_are_those_of_the_inspection() -> None:
    found = inspected('He said: "a b"\n' * 20, "gru", layers=2)
    data = data_of(page.render(found))
    assert len(data["unitGates"]) == 24
    for name, gates in data["unitGates"].items():
        layer, unit = map(int, name.split(":"))
        for letter, packed in gates.items():
            values = np.frombuffer(base64.b64decode(packed), dtype=np.int8) / 127
            np.testing.assert_allclose(values, found.traces[layer].gates[letter][:, 0, unit], atol=0.5 / 127 + 1e-6)
    assert data["gateNames"]["z"] == "update"


def test_gates_of_units_keep_to_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    found = inspected('He said: "a b"\n' * 20)
    monkeypatch.setattr(page, "GATES", 4 * len(found.bits) * 3 + 1)
    assert len(data_of(page.render(found))["unitGates"]) == 3


# -- in a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report(shipped: Inspection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page.render(shipped, traces.history(shipped.trained.path), MEMORY), encoding="utf-8")
    return path


def colours(browser: chromium.Chromium) -> list[str]:
    found: list[str] = browser.evaluate(
        "[...document.querySelectorAll('#text span')].map(span => getComputedStyle(span).backgroundColor)"
    )
    return found


@chromium.needed
def test_choosing_a_unit_recolours_the_text_by_its_states(clean: chromium.Chromium, report: Path, shipped: Inspection) -> None:
    clean.open(report)
    clean.click('button[data-by="surprise"]')
    before = colours(clean)
    assert len(before) == 2000
    clean.evaluate("document.getElementById('all-units').open = true")
    clean.click('#units button[data-by="0:7"]')
    after = colours(clean)
    assert after != before
    h = shipped.traces[0].h[:2000, 0, 7]
    strong = np.flatnonzero(np.abs(h) > 0.2)
    assert len(strong) > 20
    for at in strong[:200]:
        red, _, blue = (int(number) for number in re.findall(r"\d+", after[at])[:3])
        assert (red > blue) == (h[at] > 0)
    assert clean.evaluate("document.querySelector('#units button[data-by=\"0:7\"]').getAttribute('aria-pressed')") == "true"
    assert "0:7" in clean.evaluate("document.getElementById('by').textContent")


@chromium.needed
def test_a_found_feature_colours_the_text_by_its_cell(clean: chromium.Chromium, report: Path, shipped: Inspection) -> None:
    clean.open(report)
    (line,) = [finding for finding in shipped.findings if finding.feature == "position in the line"]
    assert line.real
    clean.click('button[data-by="entropy"]')
    before = colours(clean)
    clean.click(f'.row button[data-by="{line.name}"]')
    assert colours(clean) != before
    assert "position in the line" in clean.evaluate("document.getElementById('by').textContent")


@chromium.needed
def test_pointing_at_a_character_shows_its_numbers(clean: chromium.Chromium, report: Path, shipped: Inspection) -> None:
    clean.open(report)
    clean.hover('#text span[data-at="137"]')
    shown = clean.evaluate("document.getElementById('character').innerText")
    assert f"{shipped.bits[137]:.2f} bits" in shown
    assert f"{shipped.entropy[137]:.2f} bits" in shown
    assert f"{100 * shipped.probabilities[137, 0]:.1f} %" in shown
    assert clean.evaluate("document.querySelectorAll('#character tr').length") == 5
    name = clean.evaluate("document.querySelector('#character b:nth-child(2)').textContent")
    unit = int(name.partition(":")[2])
    for letter, called in (("i", "input"), ("f", "forget"), ("g", "candidate"), ("o", "output")):
        values = shipped.traces[0].gates[letter][137, 0]
        mean = (np.abs(values) if letter == "g" else values).mean()
        row = re.search(rf"{called}\n(-?[\d.]+)\n([\d.]+)", re.sub(r"\s*\n\s*", "\n", shown))
        assert row
        assert float(row[1]) == pytest.approx(values[unit], abs=0.01)
        assert row[2] == f"{mean:.2f}"


@chromium.needed
def test_the_page_works_by_keyboard(clean: chromium.Chromium, report: Path) -> None:
    clean.open(report)

    def focused() -> str:
        return str(
            clean.evaluate("document.activeElement.id || document.activeElement.dataset.by || document.activeElement.tagName")
        )

    seen = []
    for _ in range(20):
        clean.press("Tab")
        seen.append(focused())
        if focused() == "text":
            break
    assert seen[0] == "surprise"
    assert "unit" in seen
    for key, at in (("End", 1999), ("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
        clean.press(key)
        assert clean.evaluate("document.querySelector('#text .at').dataset.at") == str(at)
    row = "document.querySelector('#text .at').getBoundingClientRect().top"
    first = clean.evaluate(row)
    clean.press("ArrowDown")
    below = clean.evaluate(row)
    assert first < below < first + 60
    clean.press("ArrowUp")
    assert first <= clean.evaluate(row) < below
    clean.evaluate("document.querySelector('button[data-by=\"change\"]').focus()")
    before = colours(clean)
    clean.press("Enter")
    assert colours(clean) != before
    clean.evaluate("document.getElementById('all-units').open = true; document.querySelector('#units button').focus()")
    clean.press("ArrowRight")
    assert focused() == "0:1"
    assert "0:1" in clean.evaluate("document.getElementById('by').textContent")


@chromium.needed
def test_a_character_is_chosen_from_the_start_and_its_facts_follow_the_unit(
    clean: chromium.Chromium, report: Path, shipped: Inspection
) -> None:
    clean.open(report)
    at = int(clean.evaluate("document.querySelector('#text .at').dataset.at"))
    clean.evaluate("document.getElementById('all-units').open = true")
    clean.click('#units button[data-by="0:7"]')
    shown = re.sub(r"\s*\n\s*", "\n", clean.evaluate("document.getElementById('character').innerText"))
    assert int(clean.evaluate("document.querySelector('#text .at').dataset.at")) == at
    (value,) = re.findall(r"unit 0:7\n(-?[\d.]+)", shown)
    assert float(value) == pytest.approx(shipped.traces[0].h[at, 0, 7], abs=0.01)


@chromium.needed
def test_the_course_of_the_chosen_unit_is_drawn_and_can_be_walked(
    clean: chromium.Chromium, report: Path, shipped: Inspection
) -> None:
    clean.open(report)
    clean.evaluate("document.getElementById('all-units').open = true")
    clean.click('#units button[data-by="0:7"]')
    clean.press("Tab")
    clean.evaluate("document.getElementById('text').focus()")
    clean.press("Home")
    drawn = clean.evaluate("document.querySelector('#course .course').getAttribute('d')")
    heights = [float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", drawn)]
    expected = 114 - 108 * (shipped.traces[0].h[:160, 0, 7] + 1) / 2
    np.testing.assert_allclose(heights, expected, atol=0.5)
    assert "characters 1 to 160" in clean.evaluate("document.querySelector('#course figcaption').textContent")
    clean.click("#course svg")
    assert clean.evaluate("document.querySelector('#text .at').dataset.at") in ("79", "80")
    assert (
        clean.evaluate("document.getElementById('low').textContent + document.getElementById('high').textContent")
        == "\u22121" + "1"
    )
    clean.click('button[data-by="surprise"]')
    assert clean.evaluate("document.getElementById('high').textContent").endswith("and more")
    told = clean.evaluate("document.querySelector('#course figcaption').textContent")
    first = int(re.findall(r"characters (\d+)", told)[0]) - 1
    highest = max(shipped.bits[first : first + 160])
    assert float(re.findall(r"from 0 to ([\d.]+);", told)[0]) == pytest.approx(highest, abs=0.02)  # Above that of the colours.


@chromium.needed
def test_a_dot_tells_its_unit_and_chooses_it(clean: chromium.Chromium, report: Path, shipped: Inspection) -> None:
    clean.open(report)
    shares = shipped.layers[0].units()
    unit = int(np.argmax(shares["left_f"]))
    x, y = 58 + 400 * shares["left_f"][unit], 10 + 170 * (1 - shares["right_f"][unit])
    spot = clean.evaluate(
        "(() => { const e = document.querySelector('svg.dots[data-letter=f]'); e.scrollIntoView({block: 'center'});"
        f" const b = e.getBoundingClientRect(), k = b.width / 480; return [b.x + {x} * k, b.y + {y} * k]; }})()"
    )
    clean.send("Input.dispatchMouseEvent", type="mouseMoved", x=spot[0], y=spot[1])
    caption = clean.evaluate(
        "document.querySelector('svg.dots[data-letter=f]').parentNode.querySelector('figcaption').textContent"
    )
    assert caption.startswith(f"unit 0:{unit}: below 0.1 in {100 * shares['left_f'][unit]:.0f} %")
    for kind in ("mousePressed", "mouseReleased"):
        clean.send("Input.dispatchMouseEvent", type=kind, x=spot[0], y=spot[1], button="left", clickCount=1)
    assert f"unit 0:{unit}:" in clean.evaluate("document.getElementById('by').textContent")


@chromium.needed
def test_on_a_phone_the_facts_stand_beside_the_tap(clean: chromium.Chromium, report: Path) -> None:
    clean.open(report, width=390, height=844, mobile=True)
    clean.click('#text span[data-at="60"]')
    box = clean.evaluate("(b => [b.top, b.bottom])(document.getElementById('character').getBoundingClientRect())")
    tapped = clean.evaluate("document.querySelector('#text .at').getBoundingClientRect().bottom")
    assert tapped <= box[0] < box[1] <= 844.5


@chromium.needed
def test_a_unit_can_be_typed_and_a_wrong_one_is_marked(clean: chromium.Chromium, report: Path) -> None:
    clean.open(report)
    for typed, invalid in (("0:11", "false"), ("12", "false"), ("0:9999", "true"), ("x", "true"), ("", "false")):
        clean.evaluate(
            f"(e => {{ e.value = {json.dumps(typed)}; e.dispatchEvent(new Event('input')); }})(document.getElementById('unit'))"
        )
        assert clean.evaluate("document.getElementById('unit').getAttribute('aria-invalid')") == invalid
    assert "0:12" in clean.evaluate("document.getElementById('by').textContent")


@chromium.needed
@pytest.mark.parametrize("dark", [False, True])
def test_both_themes_are_legible(clean: chromium.Chromium, report: Path, dark: bool) -> None:
    clean.open(report, dark=dark)

    def brightness(selector: str, what: str) -> float:
        colour = clean.evaluate(f"getComputedStyle(document.querySelector({json.dumps(selector)})).{what}")
        return sum(float(number) for number in re.findall(r"[\d.]+", colour)[:3]) / 3

    assert (brightness("body", "backgroundColor") < 80) == dark
    for selector, behind in (("#text", "#text"), ("td", "body"), (".note", "body"), ("button", "button")):
        assert abs(brightness(selector, "color") - brightness(behind, "backgroundColor")) > 90
    assert abs(brightness("svg text", "fill") - brightness("body", "backgroundColor")) > 90


@chromium.needed
def test_nothing_is_wider_than_a_phone(clean: chromium.Chromium, report: Path) -> None:
    clean.open(report, width=360, height=740, mobile=True)
    clean.evaluate("document.getElementById('all-units').open = true")
    assert clean.evaluate("document.documentElement.scrollWidth") == 360
    parts = "[...document.querySelectorAll('pre, figure, section > p, aside')]"
    assert clean.evaluate(f"Math.max(...{parts}.map(part => part.getBoundingClientRect().right))") <= 360
    verdicts = "[...document.querySelectorAll('.verdict')]"
    assert clean.evaluate(f"Math.max(...{verdicts}.map(one => one.getBoundingClientRect().right))") <= 360
    clean.click('#text span[data-at="3"]')
    assert "character 4 of" in clean.evaluate("document.getElementById('character').innerText")


@chromium.needed
@pytest.mark.parametrize("cell", list(GATES))
def test_a_text_that_contains_scripts_runs_nothing(clean: chromium.Chromium, cell: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    path.write_text(
        page.render(inspected(HOSTILE, cell, 2, corpus="</title><script>alert(2)</script>"), (), MEMORY), encoding="utf-8"
    )
    clean.open(path)
    at = HOSTILE.index("<img")
    clean.hover(f'#text span[data-at="{at}"]')
    assert clean.evaluate("document.querySelectorAll('script').length") == 2
    assert clean.evaluate("document.querySelectorAll('img, #text script').length") == 0
    assert (
        clean.evaluate("document.getElementById('text').textContent")
        .replace("\u21b5\n", "\n")
        .startswith("<script>alert('text')</script>\n")
    )
