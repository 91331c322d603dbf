"""The pages use only what Firefox and Safari have had for two years: all they use is declared here, the newer with versions.

A scan knows words, not meanings. It sees operators, words of the language, what is called or made by a bare name, and members;
in styles properties, functions, rules, pseudo-classes and units; elements. It doesn't see values of properties, attributes,
strings (so no event's and no option's name), what a regular expression holds, nor a member of the platform's that is named like
one of the pages' own (``at``, ``from``). Who writes such looks it up: ``overflow-wrap: anywhere`` (65, 15.4) is the newest.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import ROOT

PAGE = ROOT / "charrnn/output/page"
FIREFOX, SAFARI = 132, 18.1
"""What was current in November 2024."""
NEWER: dict[str, tuple[float, float]] = {
    # the first Firefox, the first Safari
    "??": (72, 13.1),
    "?.": (74, 13.1),
    "fromEntries": (63, 12.1),
    "flatMap": (62, 12),
    "replaceChildren": (78, 14),
    "accent-color": (92, 15.4),
    "print-color-adjust": (97, 15.4),
    "container-type": (110, 16),
    "@container": (110, 16),
    ":focus-visible": (85, 15.4),
    ":has": (121, 15.4),
    "min()": (75, 11.1),
    "gap": (63, 14.1),  # of a flex box
    "row-gap": (63, 14.1),
}
"""Of what the pages use, what browsers have had since 2018 or later."""

MARKS = "! !== % & && ( ) * ** + ++ += , - -- -= . ... / /= : ; < <= = === => > >= >> >>> ? [ ] ^ ^= { | || }"
WORDS = """
break class const continue delete else false finally for function get if in let new null of return set this true try
undefined while yield
"""
OTHER_WORDS = """
async await case catch debugger default do export extends import instanceof static super switch throw typeof using var
void with
"""
GLOBALS = """
Array CSS Float32Array Float64Array Int32Array Int8Array JSON Map Math Number Object Set String TextDecoder
TextEncoder Uint16Array Uint8Array addEventListener atob clearTimeout getComputedStyle matchMedia
requestAnimationFrame setTimeout
"""
MEMBERS = """
abs append assign baseVal buffer ceil charCodeAt children classList clear clearRect clientHeight clientWidth clientX
clientY closest codePointAt copyWithin createDocumentFragment createElement createElementNS dataset delete
devicePixelRatio documentElement endsWith entries escape every exp fillRect filter firstChild floor focus forEach
fromCharCode fromCodePoint get getBoundingClientRect getContext getElementById getPropertyValue has imul includes
indexOf join key keys log10 map matches min normalize padStart parentElement parentNode parse pop preventDefault push
querySelector querySelectorAll reduce remove replace round scrollHeight scrollIntoView set setAttribute setTransform
sign slice some sort splice split sqrt startsWith strokeRect subarray tagName tanh test toExponential toFixed
toLocaleString toLowerCase toPrecision toString toUpperCase toggle trim
"""
OURS = """
all bits by cells examples form gate gateNames ink likeliest networks pair_keys panel probabilities rule saturation
scales std unitGates units
"""
"""Members that the pages' own data and getters have."""
PROPERTIES = """
align-content align-items align-self background background-color border border-bottom border-collapse border-color
border-left border-radius border-right border-top border-width bottom box-shadow box-sizing clip-path color content
cursor display fill flex flex-basis flex-wrap font font-family font-size font-style font-variant-numeric font-weight
grid-area grid-column grid-template grid-template-columns height left line-height list-style margin margin-bottom
margin-left margin-right margin-top max-height max-width min-height min-width opacity outline outline-offset overflow
overflow-wrap overflow-x padding padding-top position quotes resize right stroke stroke-dasharray stroke-linejoin
stroke-width text-align text-overflow top transform vector-effect vertical-align visibility white-space width z-index
"""
STYLES = """
inset() linear-gradient() minmax() not() repeat() rgb() rgba() var() @media ::after ::before :disabled :empty
:hover :last-child :not :root % em fr px rem vh max-width max-height min-width prefers-color-scheme
"""
ELEMENTS = """
article aside b body button canvas code dd details div dl dt fieldset figcaption figure footer h1 h2 h3 h4 head header
html i input label legend li link main meta noscript ol option output p path pre q script section select small span
strong style summary svg table tbody td text textarea th thead title tr u ul
"""

TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
    |(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    |(?P<expression>(?<=[(,=:\[!&|?{};\n\ ])/(?![/*\ =])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/[a-z]*)
    |(?P<number>0[xb][\da-fA-F]+|\d+(?:\.\d+)?(?:e[+-]?\d+)?)
    |(?P<name>[#@]?[A-Za-z_$][\w$]*)
    |(?P<tick>`)
    |(?P<mark>>>>=|\.\.\.|\?\?=|\|\|=|&&=|\*\*=|>>>|===|!==|<<=|>>=|=>|\?\.(?!\d)|\?\?|\*\*|\+\+|--|&&|\|\||[-+*/%&|^<>=!]=|<<|>>|\S)
    |\s+""",
    re.DOTALL | re.VERBOSE,
)


def tokens(script: str) -> list[tuple[str, str]]:
    """The names, marks, numbers and literals of a script, those within its templates' braces too."""
    found, at, depths = [("mark", ";")], 0, list[int]()

    def template(at: int) -> int:
        while script[at] != "`" and not script.startswith("${", at):
            at += 2 if script[at] == "\\" else 1
        depths.extend([0] if script[at] == "$" else [])
        return at + (2 if script[at] == "$" else 1)

    while at < len(script):
        if depths and script[at] == "}" and depths[-1] == 0:
            depths.pop()
            at = template(at + 1)
            continue
        match = TOKEN.match(script, at)
        assert match
        at = match.end()
        if match.lastgroup == "tick":
            at = template(at)
        elif match.lastgroup not in (None, "comment"):
            if depths:
                depths[-1] += (match[0] == "{") - (match[0] == "}")
            found.append((match.lastgroup or "", match[0]))
    return [*found, ("mark", ";")]


def behind(all_of: list[tuple[str, str]], at: int) -> int:
    """Where it goes on after the bracket that begins there has been closed."""
    depth = 0
    for end in range(at, len(all_of)):
        depth += (all_of[end][1] == "(") - (all_of[end][1] == ")")
        if depth == 0:
            return end + 1
    return len(all_of) - 1


def of_scripts(*scripts: str) -> set[str]:
    """What scripts use of the language and of the platform."""
    all_of = [token for script in scripts for token in tokens(script)]
    used, members, called, own = set(), set(), set(), set(OURS.split())
    for at, (kind, token) in enumerate(all_of[1:-1], 1):
        before, after = all_of[at - 1][1], all_of[at + 1][1]
        if kind == "mark":
            used.add(token)
        elif kind == "name" and before in (".", "?."):
            members.add(token)
            own |= {token} if after == "=" else set()
        elif kind == "name" and token in {*WORDS.split(), *OTHER_WORDS.split()} and after not in (":", ","):
            used.add(token)
        elif kind == "name":
            defined = before in ("const", "let", "function", "class", "get", "set") or after in ("=", ":")
            method = after == "(" and all_of[behind(all_of, at + 1)][1] == "{" and before in ("{", "}", ";", "*")
            shorthand = before in ("{", ",") and after in (",", "}")
            parameter = after in (",", ")", "=>") and before in ("(", ",")
            if defined or method or shorthand or parameter or token[0] in "#@":
                own.add(token)
            if after == "(" or before in ("new", "instanceof") or (token[1:] and token[0].isupper() and after == "."):
                called.add(token)
            used |= {token[0]} & {"#", "@"}
    return used | (members - own) | (called - own - {"constructor"})


def of_styles(style: str) -> set[str]:
    """What a sheet of styles uses."""
    style = re.sub(r"/\*.*?\*/|\"[^\"]*\"|#[0-9a-fA-F]{3,8}\b", "", style, flags=re.DOTALL)
    used = set(re.findall(r"(?<![\w-])([a-z][a-z-]*)\s*:(?=[^{};]*[;}])", style))
    used |= set(re.findall(r"\(([a-z-]+):", style)) | set(re.findall(r"@[a-z-]+|&", style))
    used |= {f"{name}()" for name in re.findall(r"(?<![:\w-])([a-z-]+)\(", style)}
    used |= set(re.findall(r"::?[a-z-]+(?=[\s,{.:>\[()])", re.sub(r"{[^{}]*}", "{}", style)))
    return used | set(re.findall(r"\d([a-z]+|%)", style))


def of_markup(page: str) -> set[str]:
    """The elements of a page, without what the template's language has."""
    return set(re.findall(r"<([a-z][a-z0-9-]*)", re.sub(r"{[%#{].*?[}%#]}", "", page, flags=re.DOTALL)))


def sources(ending: str) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(Path(PAGE).glob(f"*.{ending}"))]


def known(*lists: str) -> set[str]:
    return {*NEWER, *(word for one in lists for word in one.split())}


def test_the_scripts_use_what_is_declared() -> None:
    assert of_scripts(*sources("js")) - known(MARKS, WORDS, GLOBALS, MEMBERS) == set()


def test_the_styles_use_what_is_declared() -> None:
    assert set().union(*map(of_styles, sources("css"))) - known(PROPERTIES, STYLES) == set()


def test_the_pages_use_the_elements_that_are_declared() -> None:
    assert set().union(*map(of_markup, sources("html"))) - known(ELEMENTS) == set()


def test_what_is_newer_has_been_in_both_browsers_for_two_years_and_is_used() -> None:
    assert {name: since for name, since in NEWER.items() if since[0] > FIREFOX or since[1] > SAFARI} == {}
    used = of_scripts(*sources("js")).union(*map(of_styles, sources("css")))
    assert NEWER.keys() - used == set()


@pytest.mark.parametrize(
    ("script", "new"),
    [
        ("const a = b.toSorted();", "toSorted"),
        ("`one ${a.map((x) => { return x.isWellFormed(); })} two`;", "isWellFormed"),
        ("a ||= 1;", "||="),
        ("const a = await b;", "await"),
        ("class A { #x = 1; }", "#"),
        ("structuredClone(a);", "structuredClone"),
        ("new Temporal(1);", "Temporal"),
        ("Iterator.keys(a);", "Iterator"),
        ("a?.trim; import(c);", "import"),
        ("// toSorted()\nconst a = /`/.exec(b);", "exec"),
    ],
)
def test_a_feature_of_a_script_that_nobody_declared_is_seen(script: str, new: str) -> None:
    assert of_scripts(script) - known(MARKS, WORDS, GLOBALS, MEMBERS) == {new}


@pytest.mark.parametrize(
    ("style", "new"),
    [
        ("p { field-sizing: content; }", "field-sizing"),
        ("p { color: light-dark(red, blue); }", "light-dark()"),
        ("p { height: 3dvh; color: #3dd; }", "dvh"),
        ("@starting-style { p { color: red; } }", "@starting-style"),
        ("p:user-valid { color: red; }", ":user-valid"),
        ("p { & b { color: red; } }", "&"),
    ],
)
def test_a_feature_of_a_style_that_nobody_declared_is_seen(style: str, new: str) -> None:
    assert of_styles(style) - known(PROPERTIES, STYLES) == {new}


def test_an_element_that_nobody_declared_is_seen() -> None:
    assert of_markup("{% if a < b %}<p>{{ c }}</p>{% endif %}<selectedcontent>") - known(ELEMENTS) == {"selectedcontent"}
