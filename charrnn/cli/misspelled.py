"""What a usage error says: the right spelling of what was plainly meant. People bring along the words of other programs."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from charrnn import CharrnnError, absent
from charrnn.cli.other_words import GROUPED, IN_SHELL, LABELLED, OPTIONS, UNGROUPED, VERBS

CLOSE = 0.75
"""From this similarity on, one name is taken for a slip of the other."""
SHARED = 3
"""An option of more commands than this tells nothing about the one that was meant."""

TO_STDOUT = ("sample", "score", "next", "info", "bench", "cache", "classify predict", "classify evaluate")
"""Commands whose product goes to stdout, where a shell sends it into a file."""
KINDS = {"LABELLED": "; a directory may hold a file of lines for each label"}
"""How an argument that is one may hold what lies in several files."""
BEHIND_IT = "put a text behind it"
"""What is said of an option that has no text, or took the next option for one."""
MOST_WORDS = 12
"""A name of more words than this isn't put together again."""
UNQUOTED = "a name with spaces needs quotes"
"""What is said of a name that a shell took apart."""
QUOTED = dict.fromkeys(("PROMPT", "TEXT"), ", several words in quotes") | {"PAGE.html": ", a name with spaces in quotes"}
"""What is said of an argument that a shell took apart, where nothing tells whether it did."""
UNLIMITED = ("top-k", "top-p", "typical", "lines")
"""Options of which 0 says in other programs that there is no limit."""
NETWORKS = ("best.safetensors", "classifier.safetensors", "member-0")
"""What tells that a directory is that of a network, or of several."""

MISSING = {
    "FILE...": "which text? name a file, a directory, or - for stdin",
    "LABELLED": "which labelled texts? name a file with a text, a tab and its label on each line, or a directory",
    "PAGE.html": "which page? name the file to write",
    "--npz": "it names the file that the vectors go to",
}
"""What is asked where an argument or an option that must be given is missing."""


def told(error: typer.TyperException, typed: Sequence[str], command: str) -> tuple[str, str]:
    """What to say of a command line that Typer refuses, and whose help to see: that of ``command``, or of the one meant."""
    context: Any = getattr(error, "ctx", None)
    message = error.format_message().rstrip(".")
    if message.startswith("No such command"):
        return _no_command(typed, context)
    if message == "Option '--resume' requires an argument":
        return f"{message}; say --resume latest for the most recent run", command
    if re.match(r"Option '(-p|--prompt|--stop|--contribution)' requires an argument$", message):
        return f"{message}; {BEHIND_IT}", command
    if context is None:
        return message, command
    if found := re.match(r"Missing (?:argument|option) '(.*)'$", message):
        asked = MISSING.get(found[1])
        return f"{message}; {asked}" if asked else message, command
    if message.startswith("No such option") and (file := _dashed_name(error.option_name, typed)):  # type: ignore[attr-defined]
        return f"No such option: {file:.80}; a file of that name is ./{file:.80}", command
    if name := _one_dash(typed, context):
        return _no_option(name, typed, context), command
    if message.startswith("No such option"):
        return _no_option(_as_typed(error.option_name, typed), typed, context), command  # type: ignore[attr-defined]
    if found := re.match(r"Got unexpected extra argument\(s\) \((.*)\)$", message, re.DOTALL):
        return f"unexpected argument: {found[1]:.80}{_no_argument(found[1], typed, context)}", command
    return message, command


def refused(message: str, typed: Sequence[str]) -> str:
    """What to say of what was refused: a long option with one dash is read as a short one and its value."""
    if message.startswith("Option '--resume' requires an argument"):
        return f"{message}; say --resume latest for the most recent run"
    if found := re.match(f"(--({'|'.join(UNLIMITED)})) must be .*, not 0$", message):
        return f"{message}; for no limit leave {found[1]} out"
    if message.startswith("TEXT or --file") and (whole := _taken_apart(typed)):
        return f"{message}; {UNQUOTED}: {shlex.quote(whole):.160}"
    if message.startswith(("--contribution has", "TEXT or --file")) and (each := _each_network(typed)):
        return each
    if message.startswith("--contribution has") and (taken := typed[typed.index("--contribution") + 1]).startswith("-"):
        return f"--contribution took {taken} for its text; {BEHIND_IT}"
    if re.match(r"--grad-clip must be .*, not (0|-1|inf|none|off)$", message, re.IGNORECASE):
        return f"{message}; --grad-clip 1e9 clips nothing"
    for word in typed:
        if re.fullmatch(r"-\w[\w-]{2,}", word) and message.endswith(f"not {word[2:]}"):
            return f"No such option: {word}; long options have two dashes: -{word.replace('_', '-')}"
    return message


def placed(error: absent.AbsentError, typed: Sequence[str], command: Any) -> str:
    """What ``error`` says; of several files in one word, or a number in the place of a file, what ``command`` takes there."""
    if whole := _taken_apart(typed, error.path):
        return f"{error.path}: {error.reason}; {UNQUOTED}: {shlex.quote(whole):.160}"
    names = absent.several(error.path)
    place = next((place for place, word in enumerate(typed) if word == error.path or word.endswith(f"={error.path}")), None)
    sentence = absent.is_sentence(error.path) and not names
    if place is None or not (names or sentence or absent.is_number(error.path)):
        return str(error)
    verbs = ["charrnn"]
    for word in typed:
        if word in getattr(command, "commands", {}):
            command = command.commands[word]
            verbs.append(word)
    option = typed[place].partition("=")[0] if typed[place] != error.path else typed[place - 1]
    taken = next((one for one in command.params if option in (*one.opts, *one.secondary_opts)), None)
    if taken is None or taken.param_type_name == "argument" or taken.is_flag:  # It stands behind no option.
        option, taken = "", next((one for one in command.params if one.param_type_name == "argument"), None)
    if sentence:
        advice = _of_sentence(error.path, option, command, " ".join(verbs))
        return f"{error.path}: {error.reason}; {advice}" if advice else str(error)
    if taken is None or taken.nargs == -1 or not (names or option):
        return str(error)
    one = str(taken.metavar).strip("[]")
    if names and taken.multiple:
        advice = f"each needs a {option} of its own: {' '.join(f'{option} {shlex.quote(name)}' for name in names):.160}"
    elif names:
        joined = ", or put them into one" if one == "FILE" else KINDS.get(one, "")
        advice = f"{option or 'the command'} takes one {one}: name one{joined}"
    else:
        share = f"; a share is --val-fraction {error.path}" if option.startswith("--val") else ""
        advice = f"{option} takes a {one}{share}"
    return f"{error.path}: {error.reason}; {advice}"


def _of_sentence(text: str, option: str, command: Any, called: str) -> str:
    """How the ``command`` that is ``called`` so takes a text that was typed in the place of a file; empty if it takes none."""
    taken = [str(one.metavar).strip("[].") for one in command.params if one.param_type_name == "argument"]
    if option == "--file" and "TEXT" in taken:
        return f"a text itself stands without {option}: {called} {shlex.quote(text):.80}"
    if not option and "FILE" in taken:
        return f"a text itself comes through a pipe: echo {shlex.quote(text):.80} | {called} -"
    return ""


# -- commands ---------------------------------------------------------------------------------------------------------


def _no_command(typed: Sequence[str], context: Any) -> tuple[str, str]:
    """For a first word that is no command: the command that was meant, or what can be done with a file of that name."""
    if context.parent is not None:
        return _no_subcommand(typed, context)
    word = next((word for word in typed if not word.startswith("-")), "")
    message, name = f"No such command: {word:.80}", word.lower().replace("_", "-")
    ours = list(context.command.commands)
    meant = next((verb for verb, words in VERBS.items() if name in words.split()), None)
    if name in ours:
        meant = name
    elif name.partition(" ")[0] in ours:
        return f"{message}; leave out the quotes around it: charrnn {word:.80}", f"charrnn {name.partition(' ')[0]}"
    elif meant is None and (kind := _named(word)) is not None:
        meant = f"{'sample -c' if kind == 'network' else 'train'} {shlex.quote(word)}"
    elif meant is None:
        meant = next(iter(difflib.get_close_matches(name, ours, 1, 0.6)), None)
    if meant is None:
        return message, "charrnn"
    verb = meant.split()[0]
    return f"{message}; say charrnn {meant}", f"charrnn {verb}" if verb in ours else "charrnn"


def _no_subcommand(typed: Sequence[str], context: Any) -> tuple[str, str]:
    """The same for the word behind the name of a group of commands."""
    path = context.command_path
    words = [word for word in typed if not word.startswith("-")]
    word = next(iter(words[words.index(context.info_name) + 1 :]), "") if context.info_name in words else ""
    message, name = f"No such command: {path} {word:.80}", word.lower().replace("_", "-")
    meant = next((verb for verb, others in GROUPED.items() if name in others.split()), None)
    if meant is None:
        for verb, takes in UNGROUPED.items():
            if name == verb or name in VERBS.get(verb, "").split():
                return f"{message}; say charrnn {verb} {takes}", f"charrnn {verb}"
    meant = meant or next(iter(difflib.get_close_matches(name, list(context.command.commands), 1, 0.6)), None)
    if meant is None and word and Path(word).exists():
        return f"{message}; say {path} fit {shlex.quote(word):.80}", f"{path} fit"
    if meant is None and " " in word:
        return f"{message}; say {path} predict {shlex.quote(word):.80}", f"{path} predict"
    return (f"{message}; say {path} {meant}", f"{path} {meant}") if meant else (message, path)


def _named(word: str) -> str | None:
    """What is called ``word``: a "network", another "file" or "directory"; None of a text, which may be too long for a name."""
    path = Path(word)
    with contextlib.suppress(OSError, ValueError):
        if path.suffix == ".safetensors" or any((path / name).exists() for name in NETWORKS):
            return "network"
        return "file" if path.is_file() else "directory" if path.exists() else None
    return None


# -- options ----------------------------------------------------------------------------------------------------------


def _no_option(typed: str, words: Sequence[str], context: Any) -> str:
    """For an option that the command doesn't have: its own one that was meant, or the command that has it."""
    said = f"No such option: {typed:.80}"
    meant = _meant(_bare(typed), context)
    if takes := {"PROMPT", "TEXT", "TEXT..."} & {*_spellings(context.command)[1]}:
        whole = next((word for word in words if word.startswith(typed)), typed)
        if not meant or not re.fullmatch("--?[A-Za-z][\\w-]*(=.*)?", whole):
            right = f"{context.command_path} -- {shlex.quote(whole):.80}"
            return f"{said}; a {takes.pop().strip('.')} that begins with a dash stands behind --: {right}"
    return f"{said}; {meant}" if meant else said


def _meant(bare: str, context: Any) -> str:
    own, arguments = _spellings(context.command)
    if said := _by_the_shell(bare, context.command_path.partition(" ")[2]):
        return said
    name = bare if len(bare) == 1 else bare.lower().replace("_", "-")
    if len(name) > 1 and f"--{name}" in own:
        return f"say --{name}"
    for answer, words in LABELLED.items():
        if "LABELLED" in arguments and name in words.split():
            said = next(iter(LABELLED)) if answer.endswith(context.command_path) else answer
            return said.replace("COMMAND", context.command_path)
    for answer in _answers(name):
        first = answer.split()[0]
        if first in own:
            return f"say {answer}"
        if first in arguments:
            return f"name it without an option: {context.command_path} {answer}"
        if first == "charrnn" and answer != context.command_path and context.parent is not None:
            return f"say {answer}"
    if alike := _alike(name, [option[2:] for option in own if option.startswith("--")]):
        return f"say {' or '.join(f'--{one}' for one in alike)}"
    return _elsewhere(f"-{name}" if len(name) == 1 else f"--{name}", context)


def _by_the_shell(bare: str, command: str) -> str:
    """What a shell does that was asked of ``command``; empty if it was something else."""
    meant = next((how for how, words in IN_SHELL.items() if bare.lower() in words.split()), "")
    if command == "score" and meant == "| head -N":
        return "the first rows are had by a shell: | head -N"
    if command == "sample" and meant.startswith("| grep"):
        return f"of many lines a shell keeps the long ones: -N 1000 {meant}"
    if command not in TO_STDOUT or meant != "> FILE":
        return ""
    more = "; --out-dir DIR makes a file of each of many texts" if command == "sample" else ""
    return f"what it writes goes to stdout, and into a file by > FILE{more}"


def _dashed_name(option: str, typed: Sequence[str]) -> str:
    """The word that was taken for an ``option``, if it is the name of a file; else nothing."""
    return next((word for word in typed if word.startswith(option) and _named(word)), "")


def _answers(name: str) -> Iterator[str]:
    """What the table has for a word, the best first."""
    for answers, words in OPTIONS.items():
        if name in words.split():
            yield from answers.split(" | ")


def _alike(name: str, ours: Sequence[str]) -> list[str]:
    """Those of our names that begin with ``name``, or the one that it is a slip of."""
    begun = sorted(one for one in ours if len(name) >= 3 and one.startswith(name))
    return begun[:3] or difflib.get_close_matches(name, ours, 1, CLOSE)


def _elsewhere(option: str, context: Any) -> str:
    """Which other commands have the option."""
    program = context.find_root()
    if context.parent is None and option.removeprefix("--") in program.command.commands:
        return f"a command has no hyphens: charrnn {option.removeprefix('--')}"
    if context.parent is None:
        having = [verb for verb, command in program.command.commands.items() if option in _spellings(command)[0]]
        return f"options stand behind the command: charrnn {having[0]} {option}" if having else ""
    if option in _spellings(program.command)[0]:
        return f"say charrnn {option}"
    beside = getattr(context.parent.command, "commands", {}).items()
    if context.parent is not program and (group := [verb for verb, one in beside if option in _spellings(one)[0]]):
        return f"it belongs to {' and '.join(f'{context.parent.command_path} {verb}' for verb in group)}"
    having = [f"charrnn {verb}" for verb, command in program.command.commands.items() if option in _spellings(command)[0]]
    if len(having) > SHARED:
        return f"other commands have it; {context.command_path} goes without"
    return f"it belongs to {' and '.join(having)}" if having else ""


def _spellings(command: Any) -> tuple[list[str], list[str]]:
    """A command's options, and what its arguments are called."""
    options = [
        spelling
        for parameter in command.params
        for spelling in (*parameter.opts, *parameter.secondary_opts)
        if spelling.startswith("-")
    ]
    called = [str(parameter.metavar).strip("[]") for parameter in command.params if parameter.param_type_name == "argument"]
    return options, called


def _takes_text(option: str, context: Any) -> bool:
    """Whether the command has the ``option``, and its value may be any text."""
    return any(option in parameter.opts and parameter.metavar == "TEXT" for parameter in context.command.params)


def _one_dash(typed: Sequence[str], context: Any) -> str | None:
    """The first word with a single dash that is a long option of ours or of another program, as in ``-rnn_size``."""
    options, arguments = _spellings(context.command)
    own = [*options, *arguments]
    anywhere = {option for command in _commands(context.find_root()) for option in _spellings(command)[0]}
    for word in typed:
        if re.match(r"-[A-Za-z][\w-]+", word):
            name = _bare(word).lower().replace("_", "-")
            if f"--{name}" in anywhere or any(answer.split()[0] in own for answer in _answers(name)):
                return word.partition("=")[0]
    return None


def _commands(program: Any) -> list[Any]:
    """Every command of the program."""
    return list(program.command.commands.values())


def _as_typed(option: str, typed: Sequence[str]) -> str:
    """The option as it stands on the command line, where Typer names it otherwise."""
    return next((word for word in typed if word.partition("=")[0] == option), option).partition("=")[0]


def _bare(option: str) -> str:
    return option.lstrip("-").partition("=")[0]


# -- arguments --------------------------------------------------------------------------------------------------------


def _no_argument(extra: str, typed: Sequence[str], context: Any) -> str:
    """For an argument too many: the option that it needs, or quotes."""
    options, arguments = _spellings(context.command)
    words = extra.split()
    if "--" in typed and any(word in options for word in words):
        return "; behind -- there are no options; they stand before it"
    if whole := _taken_apart(typed, words[0]):
        return f"; {UNQUOTED}: {shlex.quote(whole):.160}"
    for option, taken in itertools.pairwise(typed):
        if taken in options and _takes_text(option, context):
            return f"; {option} took {taken} for its text; {BEHIND_IT}"
    if "-c" in options and {"-c", "--checkpoint"} & {*typed} and all(_named(word) == "network" for word in words):
        return f"; {_each_network(typed)}"
    if extra == "help":
        return f"; what it does is told by {context.command_path} --help"
    if "--prompt" in options:
        if given := [place for place, word in enumerate(typed) if word in ("-p", "--prompt")]:
            prompt = " ".join([*typed[given[0] + 1 : given[0] + 2], extra])
            return f"; quote a prompt of several words: -p {shlex.quote(prompt):.80}"
        if extra.isdecimal() and "-N" in options:
            return f"; say -n {extra:.20} for as many characters, -N {extra:.20} for as many texts"
        kind = _named(extra)
        option = {"network": "-c", "file": "--prompt-file"}.get(kind or "", "-p")
        if kind != "network" and (run := _run_called(extra)):
            option, extra = "-c", run
        return f"; say {option}: {context.command_path} {option} {shlex.quote(extra):.80}"
    if "-c" in options and not {"-c", "--checkpoint"} & {*typed}:
        run = _run_called(extra) if _named(extra) == "file" or "PAGE.html" in arguments else None
        if network := next((word for word in typed if _named(word) == "network"), run):
            return f"; a network stands behind -c: -c {shlex.quote(network):.80}"
    if arguments == ["PATH"] and Path(words[0]).exists():
        above = shlex.quote(str(Path(words[0]).parent))
        return f"; name one, or the directory that holds them, for a list: {context.command_path} {above}"
    if arguments:
        quoted = QUOTED.get(arguments[0], "")
        return f"; {context.command_path} takes one {arguments[0]}{quoted}{KINDS.get(arguments[0], '')}"
    return f"; {context.command_path} takes options only"


def _run_called(word: str) -> str | None:
    """The run that is called like ``word``, or learned the text in the file ``word``; None of a word that names no run."""
    from charrnn.network import lookup

    with contextlib.suppress(CharrnnError, OSError, ValueError):
        if run := lookup.namesake(Path(word), NETWORKS[0]):
            return str(run)
    return None


def _each_network(typed: Sequence[str]) -> str:
    """How the networks that stand behind no option are named, as where a shell replaces ``-c runs/*``; empty without any."""
    behind = [word for before, word in itertools.pairwise(typed) if not before.startswith("-") and _named(word) == "network"]
    named = " ".join(f"-c {shlex.quote(word)}" for word in behind)
    return f"each network needs a -c of its own: {named:.80}" if named else ""


def _taken_apart(typed: Sequence[str], word: str = "") -> str:
    """The name of what is there, with spaces, of which a shell made several of the words; empty if there is none.

    With a ``word`` only names that it is part of: there may be thousands of others, and each costs a look.
    """
    for first in range(len(typed)):
        for last in range(first + 2, min(first + MOST_WORDS, len(typed)) + 1):
            some = typed[first:last]
            with contextlib.suppress(OSError, ValueError):
                if (not word or word in some) and not some[-1].startswith("-") and Path(name := " ".join(some)).exists():
                    return name
    return ""
