"""lists: what is plainly a list is called one, and no other text is."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from conftest import ROOT

from charrnn.text.lists import is_list

FIRST = [
    "emma",
    "olivia",
    "ava",
    "isabella",
    "sophia",
    "charlotte",
    "mia",
    "amelia",
    "harper",
    "evelyn",
    "abigail",
    "emily",
    "elizabeth",
    "mila",
    "ella",
    "avery",
    "sofia",
]
WORDS = [
    "the",
    "old",
    "clock",
    "of",
    "a",
    "small",
    "house",
    "stood",
    "by",
    "its",
    "river",
    "and",
    "every",
    "autumn",
    "wind",
    "told",
    "it",
    "some",
    "new",
    "tale",
    "about",
    "sea",
    "or",
    "sand",
]
RNG = random.Random(0)


def words(low: int, high: int) -> str:
    return " ".join(RNG.choices(WORDS, k=RNG.randint(low, high)))


def prose(sentences: int) -> str:
    made = (words(4, 18).capitalize() for _ in range(sentences))
    return " ".join(sentence.replace(" and", ", and", 1) + "." for sentence in made)


def wrapped(text: str, width: int) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        if len(line) + len(word) >= width:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return [*lines, line]


def stamp(number: int) -> str:
    return f"2024-03-{number % 28 + 1:02} {number % 24:02}:{number % 60:02}:07"


N = range(60)
LISTS: dict[str, list[str]] = {
    "names": FIRST * 2,
    "names, the surname first": [f"{RNG.choice(FIRST).title()}, {RNG.choice(FIRST).title()}" for _ in N],
    "names in other scripts": ["\u0410\u043d\u043d\u0430", "\u041e\u043b\u044c\u0433\u0430", "\u7530\u4e2d", "\u4f50\u85e4"]
    * 9,
    "words": sorted(WORDS * 3),
    "titles": [words(1, 6).title() for _ in N],
    "titles and years": [f"{words(1, 6).title()} ({1950 + number})" for number in N],
    "some titles in two parts": [words(1, 4).title() + (": " + words(1, 4).title()) * (number % 6 == 0) for number in N],
    "molecules": ["CC(=O)Oc1ccccc1C(=O)O", "CN1C=NC2=C1C(=O)N(C)C(=O)N2C", "C#N", "O=C(O)[C@@H](N)C", "c1ccc2[nH]ccc2c1"] * 9,
    "numbers": [str(7919 * number) for number in N],
    "addresses of pages": [f"https://example.org/{RNG.choice(WORDS)}/{number}" for number in N],
    "chords": [" ".join(RNG.choices(["C", "Am", "F", "G7", "Dm", "Em"], k=RNG.randint(2, 8))) for _ in N],
    "a log": [f"{stamp(number)} INFO server: request {number} took {number % 7} ms" for number in N],
    "a log of Python's": [f"{stamp(number)},123 - root - WARNING - disk {number} is full" for number in N],
    "a log without levels": [f"{stamp(number)} worker {number % 3} finished job {number}" for number in N],
    "a log in ISO 8601": [f"2024-03-01T10:{number:02}:00.123Z ERROR [db] timeout after {number} s" for number in N],
    "syslog": [f"Mar  1 06:{number:02}:43 host sshd[{number}]: Accepted key for root" for number in N],
    "a web server's log": [
        f'10.0.0.{number} - - [01/Mar/2024:06:{number:02}:43 +0000] "GET /a HTTP/1.1" 200 9' for number in N
    ],
    "a log of levels": [f"[ERROR] module {number}: cannot open file" for number in N],
}
VERSE = [words(6, 8).capitalize() + RNG.choice([",", ",", ".", ";", ""]) for _ in N]
SIGNS = ["Ma \u2764\ufe0f", "\U0001f6b2Jan", "~\xa0Ola \u2728"]
NUMBERS = ["+48 600 100 200", "\u202a+1 (555) 010\u20110100\u202c"]
OTHERS: dict[str, list[str]] = {
    "a paragraph a line": [prose(5) for _ in N],
    "short paragraphs with blank lines": [line for _ in N for line in (prose(2), "")],
    "a sentence a line": [prose(1) for _ in N],
    "hard-wrapped prose": wrapped(prose(80), 72),
    "narrow prose": wrapped(prose(80), 40),
    "hard-wrapped words without punctuation": wrapped(words(600, 700), 72),
    "verse": VERSE,
    "verse in stanzas": [line for number, line in enumerate(VERSE) for line in [line] + [""] * (number % 4 == 3)],
    "a play": [line for _ in N for line in (f"{RNG.choice(FIRST).upper()}:", *wrapped(prose(2), 50), "")],
    "a play without blank lines": [f"{RNG.choice(FIRST).upper()}. {prose(1)}" for _ in N],
    "Chinese prose": wrapped(
        " ".join(["\u5b50\u66f0\uff1a\u5b66\u800c\u65f6\u4e60\u4e4b\uff0c\u4e0d\u4ea6\u8bf4\u4e4e"] * 60), 30
    ),
    "indented code": ["def f(x):", "    y = x + 1", "    return y", ""] * 20,
    "flat code": [f"value_{number} = compute({number})" for number in N],
    "a header of C": [f"#define NAME_{number} {number}" for number in N],
    "imports": [f"from package.module_{number} import name_{number}" for number in N],
    "HTML": [f"<li><a href='{number}'>{words(2, 4)}</a></li>" for number in N],
    "settings": [f"key_{number}: {words(1, 2)}" for number in N],
    "a chat": [f"{RNG.choice(FIRST)}: {words(2, 9)}" for _ in N],
    "a chat with nicks": [f"[12:{number:02}] <{RNG.choice(FIRST)}> {words(2, 9)}" for number in N],
    "a chat on a phone": [f"12/31/20, 11:{number:02} PM - {RNG.choice(FIRST).title()}: {words(2, 9)}" for number in N],
    "a chat of names with signs": [f"[{number:02}.05.2023, 12:01:09] {RNG.choice(SIGNS)}: {words(2, 9)}" for number in N],
    "a chat of telephones": [f"12/31/20, 11:{number:02} PM - {RNG.choice(NUMBERS)}: {words(2, 9)}" for number in N],
    "a chat with dates": [f"{stamp(number)} {RNG.choice(FIRST)}: {words(2, 9)}" for number in N],
    "CSV": ["name,age,city", *(f"{RNG.choice(FIRST)},{number},{RNG.choice(WORDS)}" for number in N)],
    "CSV of two columns": [f"{RNG.choice(FIRST)},{number}" for number in N],
    "CSV with spaces": [f"{RNG.choice(FIRST)}, {number}, {RNG.choice(WORDS)}" for number in N],
    "CSV with times": [f"{stamp(number)},{number}.5,{number}" for number in N],
    "quoted CSV": [f'"{words(2, 5)}","{words(3, 9)}, and more"' for _ in N],
    "TSV": [f"{RNG.choice(FIRST)}\t{number}" for number in N],
    "semicolons": [f"{RNG.choice(FIRST)};{number};x" for number in N],
    "Markdown": [line for number in N for line in (f"## {words(2, 4)}", f"* {words(3, 6)}", f"{number}. {words(2, 5)}")],
    "a page in base64": ["QUJD" * 19] * 40,
    "nineteen lines": FIRST[:19],
    "nothing": [],
    "blank lines": [""] * 50,
}


@pytest.mark.parametrize("kind", LISTS)
def test_lists_are_lists_in_any_order(kind: str) -> None:
    assert is_list(LISTS[kind])
    assert is_list(sorted(LISTS[kind]))


@pytest.mark.parametrize("kind", OTHERS)
def test_other_texts_are_none(kind: str) -> None:
    assert not is_list(OTHERS[kind])


@pytest.mark.parametrize("path", ["README.md", "CHANGELOG.md", "corpora/fables.txt", "charrnn/config.py", "pyproject.toml"])
def test_real_files_that_are_no_lists(path: str) -> None:
    assert not is_list((ROOT / path).read_text(encoding="utf-8").splitlines())


def test_every_module_of_the_program_is_no_list() -> None:
    for path in Path(ROOT / "charrnn").rglob("*.py"):
        assert not is_list(path.read_text(encoding="utf-8").splitlines()), path
