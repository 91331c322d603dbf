"""The page of `charrnn export` in a real browser: what it writes, what its parts do, and that nothing of others runs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import chromium
import numpy as np
import pytest
from conftest import COUNTER, ROOT
from test_export import HOSTILE, LIST, shipped, shown

from charrnn.analysis import rounding
from charrnn.config import GATE_NAMES, GATES
from charrnn.generation.drawing import Drawing, Sampler
from charrnn.generation.generate import generate, prime
from charrnn.network.cells import Network
from charrnn.output.page import export
from charrnn.output.page.export import Shown

pytestmark = chromium.needed
PATIENCE = 60
"""Seconds that a slow machine may take."""


Opened = Callable[..., chromium.Chromium]


@pytest.fixture
def opened(clean: chromium.Chromium, tmp_path: Path) -> Opened:
    """Open the page of some networks, and wait for what it writes of itself."""

    def open_(*networks: Shown, **window: Any) -> chromium.Chromium:
        path = tmp_path / "page.html"
        path.write_text(export.render(networks), encoding="utf-8")
        clean.open(path, **window)
        settled(clean)
        return clean

    return open_


@pytest.fixture(scope="module")
def fables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "fables.html"
    path.write_text(export.render([shipped()]), encoding="utf-8")
    return path


def until(browser: chromium.Chromium, condition: str) -> None:
    end = time.monotonic() + PATIENCE
    while not browser.evaluate(f"Boolean({condition})"):
        assert time.monotonic() < end, condition
        time.sleep(0.02)


def settled(browser: chromium.Chromium) -> None:
    """Wait until the page has written its first text."""
    count = "document.querySelectorAll('article pre span').length"
    until(browser, f"{count} > 400 && document.getElementById('run').textContent === 'Run'")


def give(browser: chromium.Chromium, selector: str, value: Any, event: str = "input") -> None:
    browser.evaluate(
        f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event({json.dumps(event)})); }})"
        f"(document.querySelector({json.dumps(selector)}))"
    )


def run_to(browser: chromium.Chromium, count: int, what: str = "pre span") -> None:
    """Let the page write until there are so many characters, and stop it in the frame in which there are."""
    browser.evaluate(
        "new Promise(done => { const run = document.getElementById('run'), look = () => {"
        f" if (document.querySelectorAll({json.dumps(what)}).length < {count}) return requestAnimationFrame(look);"
        " run.click(); done(run.textContent); }; run.click(); look(); })"
    )


def write_2000_a_second(browser: chromium.Chromium) -> None:
    """A pace at which no frame writes more characters than the page keeps, however fast the machine."""
    browser.evaluate("document.querySelector('#pace option:last-child').value = '2000'")
    give(browser, "#pace", "2000", "change")


def part(name: str) -> str:
    return f'[data-part="{name}"]'


def text_of(browser: chromium.Chromium, network: int = 0) -> str:
    found = browser.evaluate(f"document.querySelectorAll('pre')[{network}].textContent")
    return str(found).replace("\u21b5\n", "\n")


def test_the_browsers_logits_are_numpys_along_2000_characters(clean: chromium.Chromium, fables: Path) -> None:
    clean.open(fables)
    one = shipped()
    ids = one.trained.vocabulary.encode((ROOT / "corpora/fables.txt").read_text(encoding="utf-8"))[-2000:]
    found = clean.evaluate(
        "(ids => { const network = new Network(JSON.parse(document.getElementById('data').textContent).networks[0]);"
        " const short = one => Math.round(one * 1e5) / 1e5;"
        " return ids.map(id => { network.read(id); return Array.from(network.predict(), short); });"
        f" }})({json.dumps(ids.tolist())})"
    )
    logits, _, _ = Network(one.trained.model, one.rounding.weights()).unroll(ids[:, None])
    np.testing.assert_allclose(found, logits[:, 0], atol=1e-3)


def test_the_page_writes_numpys_200_characters_at_temperature_0(clean: chromium.Chromium, fables: Path) -> None:
    clean.open(fables)
    settled(clean)
    give(clean, "#temperature", "0")
    give(clean, "#pace", "0", "change")
    give(clean, "#prompt", "The fox said")
    run_to(clean, 230)
    one = shipped()
    network, vocabulary = Network(one.trained.model, one.rounding.weights()), one.trained.vocabulary
    sampler = Sampler(np.random.default_rng(0), Drawing(temperature=0.0, banned=vocabulary.unknown))
    ids = islice(generate(network, *prime(network, vocabulary.encode("The fox said")), sampler), 200)
    assert text_of(clean)[:212] == "The fox said" + vocabulary.decode(ids)


def test_it_runs_steps_and_stops_and_a_seed_writes_the_same_again(opened: Opened) -> None:
    browser = opened(shown())
    first = text_of(browser)
    browser.click("#step")
    assert len(text_of(browser)) == len(first) + 1
    write_2000_a_second(browser)
    browser.click("#run")
    assert browser.evaluate("document.getElementById('run').textContent") == "Stop"
    browser.click("#run")
    run_to(browser, 700)
    assert browser.evaluate("document.getElementById('run').textContent") == "Run"
    stopped = text_of(browser)
    assert stopped.startswith(first)
    time.sleep(0.1)
    assert text_of(browser) == stopped
    give(browser, "#seed", "2")
    assert text_of(browser) == ""
    run_to(browser, 100)
    assert text_of(browser)[:99] != stopped[:99]
    give(browser, "#seed", "1")
    run_to(browser, 400)
    assert text_of(browser)[:300] == stopped[:300]


def test_the_bars_show_the_odds_after_temperature_and_top_k(opened: Opened) -> None:
    browser = opened(shown("gru"))

    def bars() -> list[float]:
        found = browser.evaluate(
            f"[...document.querySelectorAll('{part('next')} li:not(.none) output')].map(e => e.textContent)"
        )
        return [float(one.removesuffix(" %")) for one in found]

    free = bars()
    assert len(free) == 8
    assert free == sorted(free, reverse=True)
    browser.click("#step")
    assert bars() != free
    give(browser, "#top-k", "2")
    assert len(bars()) == 2
    assert sum(bars()) == pytest.approx(100, abs=1)
    give(browser, "#temperature", "0")
    assert bars() == [100]


@pytest.mark.parametrize("cell", list(GATES))
def test_a_click_on_a_unit_colours_the_text_by_it_and_tells_its_gates(opened: Opened, cell: str) -> None:
    browser = opened(shown(cell, 2))
    colours = "[...document.querySelectorAll('pre span')].map(span => span.style.backgroundColor)"
    before = browser.evaluate(colours)
    box = browser.evaluate(
        "(e => { e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect(); return [b.x, b.y]; })"
        "(document.querySelectorAll('canvas[tabindex]')[1])"
    )
    for kind in ("mousePressed", "mouseReleased"):
        browser.send("Input.dispatchMouseEvent", type=kind, x=box[0] + 30, y=box[1] + 5, button="left", clickCount=1)
    assert browser.evaluate(f"document.querySelector('{part('name')}').textContent") == "Unit 1:1"
    assert browser.evaluate(colours) != before
    browser.evaluate("document.querySelectorAll('canvas[tabindex]')[1].focus()")
    browser.press("ArrowRight")
    assert browser.evaluate(f"document.querySelector('{part('name')}').textContent") == "Unit 1:2"
    # The gates at a character that is chosen in the text, against NumPy's.
    browser.click("pre span:nth-child(30)")
    one = shown(cell, 2)
    vocabulary = one.trained.vocabulary
    ids = np.array([0, *vocabulary.encode(text_of(browser))], dtype=np.intp)[:30]  # the newline that opens a text isn't shown
    _, _, traces = Network(one.trained.model, one.rounding.weights()).unroll(ids[:, None])
    values = browser.evaluate(f"[...document.querySelectorAll('{part('gates')} output')].map(e => e.textContent)")
    expected = [gate[-1, 0, 2] for gate in traces[1].gates.values()]
    np.testing.assert_allclose([float(value.replace("\u2212", "-")) for value in values], expected, atol=0.0051)
    value = browser.evaluate(f"document.querySelector('{part('value')}').textContent")
    assert float(value.replace("\u2212", "-")) == pytest.approx(traces[1].h[-1, 0, 2], abs=0.0051)
    names = browser.evaluate(f"[...document.querySelectorAll('{part('gates')} b')].map(e => e.textContent)")
    assert names == [GATE_NAMES[letter] + ("" if letter in "gn" else " gate") for letter in GATES[cell]]
    assert "=" in browser.evaluate(f"document.querySelector('{part('sum')}').textContent")


def test_the_slider_holds_a_unit_and_the_box_lets_it_go(opened: Opened) -> None:
    browser = opened(shown())
    give(browser, part("held"), "-0.75")
    assert browser.evaluate(f"document.querySelector('{part('hold')}').checked") is True
    browser.click("#step")
    assert browser.evaluate(f"document.querySelector('{part('value')}').textContent") == "\u22120.75"
    assert "held" in browser.evaluate(f"document.querySelector('{part('sum')}').textContent")
    browser.click(part("hold"))
    browser.click("#step")
    assert browser.evaluate(f"document.querySelector('{part('value')}').textContent") != "\u22120.75"


def test_units_are_turned_to_chosen_by_what_they_follow_and_all_let_go(opened: Opened) -> None:
    browser = opened(shown())
    first, name = text_of(browser), f"document.querySelector('{part('name')}').textContent"
    assert browser.evaluate(name) == "Unit 0:3"
    browser.click(part("after"))
    assert browser.evaluate(name) == "Unit 0:4"
    give(browser, part("held"), "1")
    for _ in range(5):
        browser.click(part("before"))
    assert browser.evaluate(name) == "Unit 0:11"  # behind the first is the last
    give(browser, part("held"), "-1")
    browser.click("button[data-unit]")
    assert browser.evaluate(name) == "Unit 0:3"
    assert browser.evaluate("document.querySelector('button[data-unit]').getAttribute('aria-pressed')") == "true"
    assert browser.evaluate(f"document.querySelector('{part('free')}').textContent") == "Let all go (2 held)"
    browser.click(part("free"))
    assert browser.evaluate(f"document.querySelector('{part('free')}').hidden") is True
    write_2000_a_second(browser)
    browser.click("#again")
    until(browser, "document.querySelectorAll('pre span').length > 100")
    browser.click("#run")
    assert text_of(browser)[:99] == first[:99]


def test_the_page_follows_the_theme_and_the_width_of_its_window(opened: Opened) -> None:
    browser = opened(shown())
    colours = "[...document.querySelectorAll('pre span')].map(span => span.style.backgroundColor).join()"
    width = "document.querySelector('canvas[tabindex]').clientWidth"
    before = browser.evaluate(colours), browser.evaluate(width)
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    until(browser, f"{colours} !== {json.dumps(before[0])}")
    browser.send("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=False)
    until(browser, f"{width} !== {before[1]}")
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360


def test_held_units_give_the_line_lengths_of_the_command_line(clean: chromium.Chromium, fables: Path) -> None:
    """The shipped network's counter makes lines long at -1 and short at 1, as `charrnn sample --clamp` does."""
    clean.open(fables)
    settled(clean)
    clean.evaluate("document.querySelector('[data-part=compare]').click()")
    until(clean, f"document.querySelectorAll('{part('compared')} li').length === 4")
    rows = clean.evaluate(f"[...document.querySelectorAll('{part('compared')} li')].map(e => e.innerText)")
    lengths = [int(re.findall(r"(\d+) characters a line", row)[0]) for row in rows]
    _, low, middle, high = lengths
    assert f"{COUNTER} free" in rows[0]
    assert low > 100
    assert low > middle > high
    assert high < 35
    until(clean, f"!document.querySelector('{part('compare')}').disabled")
    said = clean.evaluate(f"document.querySelector('{part('meaning')}').textContent")
    times = re.match(
        r"A line is (\d+\.\d) times as long with the unit held at \u22121 as at 1: from this unit the network", said
    )
    assert times
    assert float(times[1]) == pytest.approx(low / high, rel=0.1)
    # The bars begin below one another, so that their lengths can be compared.
    assert (
        len(
            set(clean.evaluate(f"[...document.querySelectorAll('{part('compared')} i')].map(e => e.getBoundingClientRect().x)"))
        )
        == 1
    )


def test_a_unit_that_nothing_listens_to_ends_no_line(opened: Opened) -> None:
    one = shown()
    weights = {name: tensor.copy() for name, tensor in one.rounding.weights().items()}
    for name in ("rnn.weight_hh_l0", "head.weight"):
        weights[name][:, 3] = 0  # the unit that is chosen
    tensors = {name: rounding.rounded(tensor, "int8") for name, tensor in weights.items()}
    browser = opened(replace(one, rounding=replace(one.rounding, tensors=tensors)))
    browser.evaluate("document.querySelector('[data-part=compare]').click()")
    until(browser, f"document.querySelector('{part('meaning')}').textContent")
    said = browser.evaluate(f"document.querySelector('{part('meaning')}').textContent")
    assert said == "A line is about as long at each value: this unit alone doesn\u2019t say where it ends."
    assert "\u22120.00" not in browser.evaluate("document.body.innerText")


def test_a_comparison_that_is_left_leaves_the_network_as_it_was(clean: chromium.Chromium, fables: Path) -> None:
    clean.open(fables)
    settled(clean)
    before = text_of(clean)
    clean.evaluate("document.querySelector('[data-part=compare]').click()")
    clean.click("#step")
    after = text_of(clean)
    assert len(after) == len(before) + 1
    clean.open(fables)
    settled(clean)
    clean.click("#step")
    assert text_of(clean) == after


def test_the_lessons_tell_the_numbers_of_the_network_that_runs(opened: Opened) -> None:
    browser = opened(shown("rnn", label="plain"), shown("lstm", label="gated"), shown("gru", label="other"))
    until(browser, "document.querySelectorAll('path.curve').length === 3 + 2 * 3")
    until(browser, "document.querySelector('[data-of=\"2\"][data-part=all-back]').textContent === '40'")

    def told(name: str, network: int) -> str:
        return str(browser.evaluate(f"document.querySelector('[data-of=\"{network}\"]{part(name)}').textContent"))

    for network in range(3):
        factors, result = told("weights", network).rsplit(" = ", 1)
        product = np.prod([float(one) for one in factors.split(" \u00b7 ")])
        assert len(factors.split(" \u00b7 ")) == 10
        if product >= 0.01:
            assert float(result) == pytest.approx(product, rel=0.2, abs=0.01)
        assert told("state", network).startswith("h = (")
        # Isolated, so that letters from right to left don't turn the line around.
        assert re.fullmatch("(?:, )?".join(["\u2068.+\u2069 [0-9.]+ %"] * 4), told("known-cut", network))
    assert told("gate-unit", 1) == "0:3"
    assert told("all-back", 1) == "40"
    assert told("weights-further", 0).startswith(", after 40 it is ")
    # With as many characters known as were read, nothing is taken away.
    give(browser, "#seed", "3")
    for _ in range(5):
        browser.click("#step")
    give(browser, "#known", "100")
    assert told("known-cut", 0) == told("known-whole", 0)
    assert told("known-same", 0) == "100 %"


def test_several_networks_write_from_one_prompt(opened: Opened) -> None:
    browser = opened(shown("rnn", label="a"), shown("lstm", label="b", level="byte"))
    give(browser, "#prompt", "bad \u20ac")
    assert text_of(browser, 0) == "bad \ufffd"
    assert text_of(browser, 1) == "bad \u20ac"
    assert "\u20ac" in browser.evaluate("document.getElementById('said').textContent")
    browser.click("#step")
    assert [browser.evaluate(f"document.querySelectorAll('pre')[{n}].children.length") for n in (0, 1)] == [6, 8]


def test_a_network_of_records_writes_a_list_whose_records_begin_anew(opened: Opened) -> None:
    browser = opened(shown(records=LIST))
    give(browser, "#prompt", "be")
    write_2000_a_second(browser)
    run_to(browser, 6, "pre .end")
    *records, _ = text_of(browser).split("\n")
    assert len(records) > 5
    assert [record for record in records if not record.startswith("be")] == []
    # The prediction after each record's prompt is the same, since nothing is remembered.
    places = browser.evaluate(
        "[...document.querySelectorAll('pre .prompt')].flatMap((span, at) =>"
        " span.nextElementSibling?.className === 'written' ? [at] : [])"
    )
    odds = set()
    for at in places[:5]:
        browser.evaluate(f"document.querySelectorAll('pre .prompt')[{at}].click()")
        odds.add(browser.evaluate(f"document.querySelector('{part('next')}').innerText"))
    assert len(odds) == 1


def test_a_page_that_is_full_drops_its_oldest_characters(opened: Opened) -> None:
    browser = opened(shown("rnn", hidden=3))
    give(browser, "#pace", "0", "change")
    browser.click("#run")
    until(browser, "document.querySelector('#rate').textContent && document.querySelectorAll('pre span').length > 3900")
    until(browser, "document.querySelectorAll('pre span').length < 3500")
    browser.click("#run")
    browser.click("pre span:nth-child(1)")
    assert browser.evaluate("document.querySelectorAll('pre span').length") <= 4000
    assert len(text_of(browser)) <= 4000


def test_what_stands_before_the_oldest_character_that_is_kept_still_counts(opened: Opened) -> None:
    """The state before it is the one in which it was read, not that of a beginning."""
    one = shown()
    browser = opened(one)
    found = browser.evaluate(
        "(() => { const [data] = JSON.parse(document.getElementById('data').textContent).networks, read = [];"
        " const player = new Player(document.querySelector('article'), data, { temperature: 0.8, topK: 0, seed: 1 });"
        " for (read.push(...player.ids.slice(0, player.length)); player.length < 4000 && read.length < 4001;"
        " read.push(player.ids[player.last])) player.step();"
        " player.step(); read.push(player.ids[player.last]);"
        " return { read, kept: player.length, gates: player.gatesAt(0) }; })()"
    )
    dropped = len(found["read"]) - found["kept"]
    assert dropped == 1000
    _, _, (trace,) = Network(one.trained.model, one.rounding.weights()).unroll(np.array(found["read"])[:, None])
    unit = 3  # the one that follows something is chosen
    for letter, gate in trace.gates.items():
        assert found["gates"][letter] == pytest.approx(gate[dropped, 0, unit], abs=1e-4)
    assert found["gates"]["before"]["h"] == pytest.approx(trace.h[dropped - 1, 0, unit], abs=1e-4)


@pytest.mark.parametrize("records", [False, True])
def test_nothing_of_a_hostile_vocabulary_header_or_prompt_runs(opened: Opened, records: bool) -> None:
    facts = {"records": LIST} if records else {}
    browser = opened(shown(characters=HOSTILE + "\n", label=HOSTILE, **facts))
    give(browser, "#prompt", HOSTILE)
    for _ in range(3):
        browser.click("#step")
    until(browser, "document.querySelector('path.curve')")
    assert browser.evaluate("document.querySelectorAll('script').length") == 2
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    assert text_of(browser).startswith(HOSTILE)
    assert browser.evaluate("document.querySelector('header b').textContent") == HOSTILE


def test_nothing_that_slipped_in_could_run(opened: Opened) -> None:
    """The policy holds even where an element with a handler, a script or a style gets into the page."""
    browser = opened(shown())
    browser.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=data:x onerror=\"window.ran = 1\"><p style=\"color: red\">');"
        " const script = document.createElement('script'); script.textContent = 'window.ran = 2'; document.body.append(script);"
    )
    time.sleep(0.2)
    assert browser.evaluate("window.ran") is None
    assert len(browser.complaints) >= 2
    browser.complaints.clear()


@pytest.mark.parametrize("dark", [False, True])
def test_both_themes_are_legible(opened: Opened, dark: bool) -> None:
    browser = opened(shown(), dark=dark)

    def brightness(selector: str, what: str) -> float:
        colour = browser.evaluate(f"getComputedStyle(document.querySelector({json.dumps(selector)})).{what}")
        return sum(float(number) for number in re.findall(r"[\d.]+", colour)[:3]) / 3

    assert (brightness("body", "backgroundColor") < 80) == dark
    for selector, behind in (("pre", "pre"), (".hint", "body"), ("#run", "#run"), (".lesson p", "body"), ("output", "body")):
        assert abs(brightness(selector, "color") - brightness(behind, "backgroundColor")) > 90


def test_paper_has_the_colours_though_browsers_print_no_backgrounds_unless_told(opened: Opened) -> None:
    browser = opened(shown())
    plain, coloured = (len(browser.send("Page.printToPDF", printBackground=behind)["data"]) for behind in (False, True))
    assert plain == pytest.approx(coloured, abs=100)  # Backgrounds alone are thousands.


@pytest.mark.parametrize("count", [1, 2])
def test_nothing_is_wider_than_a_phone(opened: Opened, count: int) -> None:
    browser = opened(*[shown(label=f"network{n}") for n in range(count)], width=360, height=740, mobile=True)
    assert browser.evaluate("document.documentElement.scrollWidth") == 360
    parts = "[...document.querySelectorAll('pre, figure, canvas, button, li, input, section > p')]"
    assert browser.evaluate(f"Math.max(...{parts}.map(part => part.getBoundingClientRect().right))") <= 360


def test_the_text_can_be_read_by_keyboard(opened: Opened) -> None:
    browser = opened(shown())
    browser.evaluate("document.querySelector('pre').focus()")
    for key, at in (("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
        browser.press(key)
        assert browser.evaluate("[...document.querySelectorAll('pre span')].findIndex(e => e.classList.contains('at'))") == at
    browser.press("End")
    assert browser.evaluate("document.querySelector('pre .at')") is None
