"""What people do wrong, each with the exit code and with words that tell them how to go on."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, TALE
from small_checkpoints import small

from charrnn.config import GATES
from charrnn.limits import either
from charrnn.network import checkpoint, rundir

Invoke = Callable[..., Any]

FAILED, USAGE = 1, 2

MISTAKES = [
    # Paths of texts.
    ("train novl.txt", FAILED, "novl.txt: No such file or directory; is it novel.txt?"),
    ("train novel", FAILED, "is it novel.txt?"),
    ("train gone.txt", FAILED, "gone.txt: No such file or directory; it is a link to old/novel.txt, where nothing is"),
    ("train Novel.TXT", FAILED, "is it novel.txt?"),
    ("train ' novel.txt'", FAILED, "is it novel.txt?"),
    ("train my story.txt", FAILED, "a name with spaces needs quotes: 'my story.txt'"),
    ("train help", FAILED, "what a command does is told by --help behind it"),
    ("train zzz.md", FAILED, "it was looked for in {here}"),
    ("train textes/a.txt", FAILED, "there is no directory textes; is it texts?"),
    ("train novel.txt/chapter.txt", FAILED, "novel.txt is a file, no directory"),
    ("train '~/novel.txt'", FAILED, "a shell replaces ~ only outside of quotes"),
    ("train '*.md'", FAILED, "outside of quotes a shell replaces a pattern"),
    (r"train 'C:\Users\me\novel.txt'", FAILED, "a path of Windows; under WSL it is /mnt/c/Users/me/novel.txt"),
    (r"train 'texts\a.txt'", FAILED, "names are separated by /, not \\: texts/a.txt"),
    ("train https://example.org/novel.txt", FAILED, "fetch it first: curl -LO https://example.org/novel.txt"),
    ("train novel.txt missing.txt", FAILED, "missing.txt: No such file or directory"),
    ("train", USAGE, "which text? name a file, a directory, or - for stdin"),
    ("train ''", USAGE, "the name of a text is empty"),
    ("score", USAGE, "which text? name a file, a directory, or - for stdin"),
    ("score novel.txt zzz.txt -c run", FAILED, "zzz.txt: No such file or directory"),
    ("train -dash.txt", USAGE, "a file of that name is ./-dash.txt"),
    ("train '-- two dashes.txt'", USAGE, "a file of that name is ./-- two dashes.txt"),
    ("train -- novel.txt --minutes 1", FAILED, "behind -- every word names a file; options stand before it"),
    ("train novel.txt 5", FAILED, "a number is no file; the option that it belongs to stands before it, as in --minutes 5"),
    ("inspect --units --file 5 -c run", FAILED, "5: No such file or directory; --file takes a FILE"),
    ("train novel.txt,one.txt", FAILED, "several files have spaces between them, outside of quotes: novel.txt one.txt"),
    ("train 'novel.txt one.txt'", FAILED, "outside of quotes: novel.txt one.txt"),
    ("sample -c run,two/a", FAILED, "each needs a -c of its own: -c run -c two/a"),
    ("inspect --units --file novel.txt,one.txt -c run", FAILED, "--file takes one FILE: name one, or put them into one"),
    # What is no text.
    ("train empty.txt", FAILED, "holds no text; at least 2 characters are needed"),
    ("score empty.txt -c run", FAILED, "there is nothing to score; it holds no text"),
    ("inspect --memory --file empty.txt -c run", FAILED, "empty.txt: empty; leave it out to read 10,000 generated"),
    ("inspect --file empty.txt -c run", FAILED, "empty.txt: empty; leave it out"),
    ("sample -c run --adapt-to empty.txt", FAILED, "empty.txt: there is nothing to learn; it holds no text"),
    ("sample -c run --prompts empty.txt", FAILED, "holds no prompt; write one on each line"),
    ("train --records novel.txt --val-lines blank.txt", FAILED, "every line is blank; --val-lines needs one to hold out"),
    ("train --records blank.txt", FAILED, "every line is blank"),
    ("train one.txt", FAILED, "holds a single character"),
    ("train nothing-in-it", FAILED, "holds no *.txt file; name the files to read"),
    ("train list.json --field name", USAGE, "jq -c '.[]' list.json > list.jsonl makes JSON lines of a list of objects"),
    ("train book.zip", FAILED, "this is a zip archive, not text; unpack it"),
    ("train picture.png", FAILED, "this is a picture, not text"),
    ("train latin.txt", FAILED, "--encoding"),
    ("train run", FAILED, "the directory holds no *.txt file (.safetensors 1); a network is named by -c, or by --init-from"),
    ("train run/best.safetensors", FAILED, "a network is named by -c, or by --init-from"),
    ("score run novel.txt", FAILED, "a network is named by -c"),
    # Networks.
    ("sample", FAILED, "train one by charrnn train"),
    ("sample -c nowhere", FAILED, "charrnn info lists the runs"),
    ("sample -c rum", FAILED, "is it run?"),
    ("sample -c cit.safetensors", FAILED, "cit.safetensors: No such file or directory; is it cut.safetensors?"),
    ("info cit.safetensors", FAILED, "cit.safetensors: No such file or directory; is it cut.safetensors?"),
    ("train novel.txt --init-from cit.safetensors", FAILED, "is it cut.safetensors?"),
    ("export run page.html", USAGE, "a network stands behind -c: -c run"),
    ("export page.html run", USAGE, "a network stands behind -c: -c run"),
    ("export run", USAGE, "run is a network; name the page, and the network behind -c: charrnn export PAGE.html -c run"),
    ("export cut.safetensors", USAGE, "cut.safetensors is a network; name the page"),
    ("next The run", USAGE, "a network stands behind -c: -c run"),
    ("inspect The run", USAGE, "a network stands behind -c: -c run"),
    ("sample -c gap/my net", USAGE, "a name with spaces needs quotes: 'gap/my net'"),
    ("sample -c run/best", FAILED, "is it run/best.safetensors?"),
    ("sample -c runs/run", FAILED, "there is no directory runs"),
    ("sample -c nothing-in-it", FAILED, "holds no best.safetensors; name a run directory or a checkpoint file"),
    ("sample -c marked.txt", FAILED, "it may be a text, of which charrnn train makes a network"),
    ("sample -c novel.txt", FAILED, "it may be a text, of which charrnn train makes a network"),
    ("classify predict Rossi -c novel.txt", FAILED, "it may be a text, of which charrnn classify fit makes a classifier"),
    ("sample -c model.pt", FAILED, "it may hold pickles, as torch.save writes them, which charrnn never reads"),
    ("sample -c empty.txt", FAILED, "not a usable checkpoint: it is empty"),
    ("sample -c cut.safetensors", FAILED, "bytes and holds"),
    ("sample -c intents", FAILED, "a classifier of texts, which charrnn classify predict reads"),
    ("sample -c ''", USAGE, "is a variable not set?"),
    ("sample -c two", FAILED, "name one of the runs in it: two/a, two/a b, two/b"),
    ("train --resume two", FAILED, "holds no last.safetensors to go on from"),
    ("sample -c two/a b -n 5", USAGE, "unexpected argument: b; a name with spaces needs quotes: 'two/a b'"),
    ("sample -c run --not-in my story.txt", USAGE, "a name with spaces needs quotes: 'my story.txt'"),
    ("export my page.html -c run", USAGE, "takes one PAGE.html, a name with spaces in quotes"),
    ("inspect --units -c run --file my story.txt", USAGE, "a name with spaces needs quotes: 'my story.txt'"),
    ("info two/a b", USAGE, "a name with spaces needs quotes: 'two/a b'"),
    ("score novel.txt -c gap/my net", FAILED, "net: No such file or directory; a name with spaces needs quotes: 'gap/my net'"),
    ("sample -c gap/my", FAILED, "a name with spaces needs quotes: 'gap/my net'"),
    ("train --resume gap/my", FAILED, "a name with spaces needs quotes: 'gap/my net'"),
    ("sample -c run two/a two/b", USAGE, "each network needs a -c of its own: -c two/a -c two/b"),
    ("inspect --memory -c run two/a two/b", USAGE, "each network needs a -c of its own: -c two/a -c two/b"),
    ("inspect --memory --file novel.txt -c run two/a", USAGE, "each network needs a -c of its own: -c two/a"),
    ("inspect --contribution The -c run two/a", USAGE, "each network needs a -c of its own: -c two/a"),
    ("export p.html -c run intents", USAGE, "each network needs a -c of its own: -c intents"),
    ("info nowhere", FAILED, "charrnn info lists the runs"),
    ("info two/a/log.jsonl", FAILED, "it may be JSON, as in a run's log; a run is named by its directory"),
    ("classify predict Hi -c run", FAILED, "make one of it by charrnn classify fit LABELLED -c run"),
    ("classify predict Hi -c intnets", FAILED, "is it intents?"),
    # Runs that should go on.
    ("train --resume", USAGE, "say --resume latest for the most recent run"),
    ("train novel.txt --resume nowhere", FAILED, "charrnn info lists the runs"),
    ("train --resume run", FAILED, "holds no last.safetensors to go on from; --init-from starts a new run from its weights"),
    ("train --resume intents", FAILED, "charrnn classify fit made it, and makes a new one"),
    ("train novel.txt --init-from nowhere", FAILED, "No such file or directory"),
    ("train novel.txt --init-from run --hidden-size 9", USAGE, "--init-from keeps its shape"),
    ("train novel.txt --init-from run --resume run", USAGE, "leave out --out, --init-from and --overwrite"),
    # Where things go.
    ("train novel.txt --out run", FAILED, "already holds a run; go on with it by charrnn train --resume run"),
    ("train novel.txt --out novel.txt", FAILED, "a file has this name; choose another"),
    ("train novel.txt --out novel.txt/run", FAILED, "novel.txt is a file, no directory"),
    ("score novel.txt -c run --adapt --keep run/best.safetensors", FAILED, "nothing is overwritten; name another file"),
    ("sample -c run -n 2 --save-state nodir/state", FAILED, "there is no directory nodir; make it, or name another file"),
    ("sample -c run -n 2 --out-dir novel.txt", FAILED, "is no directory; choose another --out-dir"),
    ("inspect The -c run --html nodir/p.html", FAILED, "there is no directory nodir"),
    ("inspect The -c run --html novel.txt", FAILED, "is there already, and not by charrnn inspect; name another file"),
    ("export run -c run", FAILED, "can't write: a directory has this name; name a file"),
    ("train novel.txt --out 'two/a b'", FAILED, "charrnn train --resume 'two/a b'"),
    ("train novel.txt --out=~/run", USAGE, "a shell replaces no ~ behind =; put a space there: --out ~/run"),
    ("sample -c run -n 2 --save-state=~/s", USAGE, "put a space there: --save-state ~/s"),
    # Values that are missing.
    (
        "train novel.txt --out --overwrite",
        USAGE,
        "Option '--out' requires an argument, and --overwrite is an option of its own",
    ),
    ("train novel.txt --resume -q", USAGE, "say --resume latest for the most recent run"),
    ("inspect The -c run --svg --quiet", USAGE, "--quiet is an option of its own"),
    ("sample -c run --temp --top-k 3", USAGE, "--top-k is an option of its own"),
    ("sample -c run --save-state --no-echo", USAGE, "--no-echo is an option of its own"),
    ("inspect The --contribution -c run", USAGE, "--contribution took -c for its text; put a text behind it"),
    ("inspect --contribution -c run", USAGE, "--contribution took -c for its text; put a text behind it"),
    ("inspect --contribution --file novel.txt -c run", USAGE, "--contribution took --file for its text; put a text behind it"),
    ("inspect The -c run --contribution", USAGE, "'--contribution' requires an argument; put a text behind it"),
    ("sample -c run --stop", USAGE, "'--stop' requires an argument; put a text behind it"),
    ("sample -c run -p -n 20", USAGE, "-p took -n for its text; put a text behind it"),
    ("sample -c run -n ''", USAGE, "not ''; is a variable not set?"),
    ("train novel.txt --cell ''", USAGE, "not ''; is a variable not set?"),
    # Values.
    ("train novel.txt --epochs all", USAGE, "above 0 and at most 1,000,000,000, not all"),
    ("train novel.txt --minutes 3m", USAGE, "write 3 "),
    ("train novel.txt --minutes 90s", USAGE, "write 1.5 "),
    ("train novel.txt --minutes 1:30", USAGE, "write 1.5 "),
    ("train novel.txt --minutes 2h", USAGE, "write 120 "),
    ("bench --seconds 1m", USAGE, "write 60 "),
    ("train novel.txt --steps 3m", USAGE, "write 3000000 "),
    ("train novel.txt --steps 10k", USAGE, "write 10000 "),
    ("train novel.txt --steps 5 --minutes 1", USAGE, "give one length for the run"),
    ("train novel.txt --hidden-size big", USAGE, "must be a whole number of at least 1"),
    ("train novel.txt --dropout 30", USAGE, "write 0.3 "),
    ("train novel.txt --val-fraction 10%", USAGE, "write 0.1 "),
    ("train novel.txt --cell transformer", USAGE, f"--cell must be {either((*GATES,))}, not transformer"),
    ("train novel.txt --members two", USAGE, "--members must be a whole number of at least 1 and at most 64, not two"),
    ("train novel.txt --encoding utf9", USAGE, "not a text encoding that Python knows (try utf-8, latin-1)"),
    ("train novel.txt --minutes", USAGE, "'--minutes' requires an argument"),
    ("sample -c run --top-p 90", USAGE, "write 0.9 "),
    ("sample -c run --temp 0,8", USAGE, "write 0.8 "),
    ("sample -c run --temp 0.5:", USAGE, "--temp takes one value, or two as A:B, not 0.5:"),
    (
        "score 'What time is it?' -c run",
        FAILED,
        "a text itself comes through a pipe: echo 'What time is it?' | charrnn score -",
    ),
    ("encode 'It is late' --npz v.npz -c run", FAILED, "echo 'It is late' | charrnn encode -"),
    ("inspect --file 'What time is it?' -c run", FAILED, "a text itself stands without --file: charrnn inspect 'What time"),
    ("train 'My novel part 3.txt'", FAILED, "it was looked for in"),
    ("train text --grad-clip 0", USAGE, "not 0; --grad-clip 1e9 clips nothing"),
    ("train text --grad-clip inf", USAGE, "not inf; --grad-clip 1e9 clips nothing"),
    ("sample -c run --top-k 0", USAGE, "not 0; for no limit leave --top-k out"),
    ("sample -c run --bias the=1", USAGE, "--bias must be one character, =, and a number or -inf"),
    (r"sample -c run -e -p 'a\q'", USAGE, r"--prompt: \q is not an escape; there are \n, \t"),
    ("sample -c run --load-state novel.txt", FAILED, "name one that charrnn sample --save-state wrote"),
    ("sample -c run --prompts novel.txt -p The", USAGE, "--prompt, --prompt-file or --prompts: give one, not more"),
    ("sample -c run --temp hot", USAGE, "--temp must be a number of at least 0"),
    ("sample -c run --seed abc", USAGE, "--seed must be a whole number"),
    ("sample -c run --clamp 0:99=1", USAGE, "this network has layers 0 to 0 and units 0 to 3"),
    ("sample -c run --unique", USAGE, "--unique compares lines; give --lines 1"),
    # Shells: quotes, dashes, the order of words.
    ("'train novel.txt'", USAGE, "leave out the quotes around it: charrnn train novel.txt"),
    ("--train novel.txt", USAGE, "a command has no hyphens: charrnn train"),
    ("train, novel.txt", USAGE, "say charrnn train"),
    ("novel.txt", USAGE, "say charrnn train novel.txt"),
    ("run", USAGE, "say charrnn sample -c run"),
    ("sample run", USAGE, "say -c: charrnn sample -c run"),
    ("sample novel.txt", USAGE, "say --prompt-file"),
    ("sample 100", USAGE, "say -n 100 for as many characters, -N 100 for as many texts"),
    ("sample --min-length 5", USAGE, "of many lines a shell keeps the long ones: -N 1000 | grep -xE '.{5,}'"),
    ("sample --starts-with B", USAGE, "say --prompt"),
    ("sample --no-duplicates", USAGE, "say --unique"),
    ("-c run sample", USAGE, "options stand behind the command: charrnn sample -c"),
    ("sample -c run -p Once upon a time", USAGE, "quote a prompt of several words: -p 'Once upon a time'"),
    ("next Once upon -c run", USAGE, "several words in quotes"),
    ("train novel.txt —minutes 3", FAILED, "an option begins with two plain hyphens: --minutes"),
    ("train novel.txt “--minutes” 3", FAILED, "a shell knows straight quotation marks only"),
    ("train novel.txt minutes=3", FAILED, "an option begins with two hyphens: --minutes 3"),
    ("train novel.txt -minutes 3", USAGE, "say --minutes"),
    ("train novel.txt -temp 0.5", USAGE, "it belongs to charrnn sample"),
    ("train novel.txt --temp 0.5", USAGE, "it belongs to charrnn sample"),
    ("export --html p.html -c run", USAGE, "name it without an option: charrnn export PAGE.html"),
    ("export -c run", USAGE, "which page? name the file to write"),
    ("encode novel.txt -c run --out v.npz", USAGE, "say --npz"),
    ("encode novel.txt -c run", USAGE, "it names the file that the vectors go to"),
    ("bench novel.txt", USAGE, "charrnn bench takes options only"),
    ("sample -c run -o out.txt", USAGE, "into a file by > FILE; --out-dir DIR makes a file of each"),
    ("score novel.txt -c run --output out.txt", USAGE, "what it writes goes to stdout, and into a file by > FILE"),
    ("classify predict Hi -c intents -o out.tsv", USAGE, "and into a file by > FILE"),
    ("score --rank novel.txt -c run -n 5", USAGE, "the first rows are had by a shell: | head -N"),
    ("next -5 -c run", USAGE, "a PROMPT that begins with a dash stands behind --: charrnn next -- -5"),
    ("inspect '--> here' -c run", USAGE, "a TEXT that begins with a dash stands behind --: charrnn inspect -- '--> here'"),
    ("classify predict -x -c intents", USAGE, "stands behind --: charrnn classify predict -- -x"),
    ("next The --topp 3 -c run", USAGE, "say --top"),
    ("next -- -x -c run", USAGE, "behind -- there are no options; they stand before it"),
    # Classifying.
    ("classify labelled.tsv", USAGE, "say charrnn classify fit labelled.tsv"),
    ("classify train labelled.tsv", USAGE, "say charrnn classify fit"),
    ("classify 'what time is it?'", USAGE, "say charrnn classify predict 'what time is it?'"),
    ("classify fit", USAGE, "name a file with a text, a tab and its label on each line"),
    ("classify fit novel.txt", FAILED, "Name them in a first line: text,label"),
    ("classify fit labelled.tsv,novel.txt", FAILED, "takes one LABELLED: name one; a directory may hold a file"),
    ("classify fit labelled.tsv novel.txt", USAGE, "takes one LABELLED; a directory may hold a file of lines for each label"),
    (
        "classify fit labelled.tsv --val 0.2",
        FAILED,
        "0.2: No such file or directory; --val takes a FILE; a share is --val-frac",
    ),
    ("classify fit labelled.tsv --val 20%", FAILED, "--val takes a FILE; a share is --val-fraction 20%"),
    ("classify fit labelled.tsv --test-size 0.2", USAGE, "say --val-fraction"),
    ("classify fit labelled.tsv --validation novel.txt", USAGE, "say --val"),
    ("classify fit labelled.tsv --class-weight balanced", USAGE, "say --balance"),
    ("classify fit labelled.tsv --max-length 100", USAGE, "say --longest"),
    ("classify fit labelled.tsv --pretrained run", USAGE, "say --checkpoint"),
    ("classify predict --text Hi -c intents", USAGE, "name it without an option: charrnn classify predict TEXT..."),
    ("classify predict Hi --confidence 0.5 -c intents", USAGE, "say --threshold"),
    ("classify evaluate labelled.tsv --threshold 0.5 -c intents", USAGE, "it belongs to charrnn classify predict"),
    ("predict Hi -c intents", USAGE, "say charrnn next or charrnn classify predict"),
    ("train novel.txt --validation one.txt", USAGE, "say --val-lines"),
    ("classify fit nothing-in-it", FAILED, "for each label it needs a file with a text on each line, as spam.txt"),
    ("classify fit --data labelled.tsv", USAGE, "name it without an option: charrnn classify fit LABELLED"),
    ("classify fit labelled.tsv --label-col y", USAGE, "its first line names the columns: text,label"),
    ("classify fit labelled.tsv --test novel.txt", USAGE, "say charrnn classify evaluate"),
    ("classify evaluate --test labelled.tsv", USAGE, "name it without an option: charrnn classify evaluate LABELLED"),
    ("classify predict Hi -c intents --probs", USAGE, "say --top"),
    ("classify predict --file novel.txt,one.txt -c intents", FAILED, "its own: --file novel.txt --file one.txt"),
    ("classify predict --file=novel.txt,one.txt -c intents", FAILED, "each needs a --file of its own"),
    ("classify predict Hi -c run,intents", FAILED, "-c takes one PATH: name one"),
    ("classify export intents", USAGE, "say charrnn export PAGE.html -c CLASSIFIER"),
    ("classify list", USAGE, "say charrnn info CLASSIFIER"),
    ("classify plot Hi", USAGE, "say charrnn inspect TEXT --html PAGE.html --classifier CLASSIFIER"),
    ("classify fit labelled.tsv -c intents --epochs 1", FAILED, "for more texts, fit all of them anew, without -c"),
    ("classify fit labelled.tsv -c intents/classifier.safetensors --epochs 1", FAILED, "fit all of them anew, without -c"),
    ("classify fit labelled.tsv -c labelled.tsv --epochs 1", FAILED, "labelled.tsv: not a usable checkpoint"),
    ("classify predict -c intents", USAGE, "which text? Give one in quotes, --file FILE, or - for the lines of stdin"),
    ("classify predict - --trace -c intents", USAGE, "give it behind the command, in quotes, not by - or --file"),
    ("classify evaluate labelled.tsv -c intents", FAILED, "doesn't know the label"),
]


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A directory with what people have lying about."""
    texts = {
        "novel.txt": TALE * 40,
        "marked.txt": "\ufeff\u201cSo it begins\u201d",
        "empty.txt": "",
        "one.txt": "a",
        "blank.txt": "\n \n\t\n",
        "texts/a.txt": TALE,
        "my story.txt": TALE,
        "-dash.txt": TALE,
        "-- two dashes.txt": TALE,
        "list.json": '[{"name": "Anna"}]',
        "two/a/log.jsonl": '{"event": "start"}\n',
    }
    for name, text in {**texts, "labelled.tsv": "text\tlabel\nhello\tgreet\nbye now\tpart\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "nothing-in-it").mkdir()
    (tmp_path / "latin.txt").write_bytes("Flüsse\n".encode("latin-1") * 20)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    for name, inside in (("book.zip", "book.txt"), ("model.pt", "archive/data.pkl")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(inside, TALE)
    (tmp_path / "run").mkdir()
    checkpoint.write(tmp_path / "run" / rundir.BEST, small())
    (tmp_path / "gap/my net").mkdir(parents=True)
    (tmp_path / "gap/my net" / rundir.BEST).write_bytes((tmp_path / "run" / rundir.BEST).read_bytes())
    for name in ("a", "a b", "b"):
        (tmp_path / "two" / name).mkdir(exist_ok=True)
        (tmp_path / "two" / name / rundir.BEST).write_bytes((tmp_path / "run" / rundir.BEST).read_bytes())
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "run" / rundir.BEST).read_bytes()[:-40])
    (tmp_path / "gone.txt").symlink_to("old/novel.txt")
    (tmp_path / "intents").symlink_to(ROOT / "checkpoints/intents")
    return tmp_path


@pytest.mark.parametrize(("line", "code", "said"), MISTAKES, ids=[line for line, _, _ in MISTAKES])
def test_a_mistake_is_told_in_one_line_that_says_how_to_go_on(
    invoke: Invoke, desk: Path, line: str, code: int, said: str
) -> None:
    before = sorted(path for path in desk.rglob("*"))
    done = invoke(*shlex.split(line.replace("\\", "\\\\") if "'" not in line else line))
    *warnings, message = done.stderr.splitlines()
    assert (done.code, done.stdout) == (code, "")
    assert said.replace("{here}", str(desk)) in message
    assert message.startswith("charrnn: ")
    assert all(re.match("charrnn: (warning|seed|to beat)", warning) for warning in warnings)
    assert re.search(r" \(see charrnn[a-z ]* --help\)$", message) if code == USAGE else True
    assert sorted(path for path in desk.rglob("*")) == before


WARNINGS = [
    ("next zzz.txt -c run", "zzz.txt is read as a text; there is no file of this name"),
    ("sample -c run -n 1 -p 'my story.txt'", "--prompt-file 'my story.txt' reads the file"),
    (r"sample -c run -n 1 --stop '\n\n'", r"--stop: \n\n is read as two characters; --escapes makes one of it"),
    (r"sample -c run -n 1 -p 'Once\n'", r"--prompt: \n is read as two characters"),
    ("next two/a -c run", "two/a is read as a text, but it names a network's directory; -c two/a names the network"),
    ("score novel.txt ./novel.txt -c run", "novel.txt is named 2 times and read as often"),
]


@pytest.mark.parametrize(("line", "said"), WARNINGS, ids=[line for line, _ in WARNINGS])
def test_what_may_be_a_mistake_is_done_with_a_warning(invoke: Invoke, desk: Path, line: str, said: str) -> None:
    done = invoke(*shlex.split(line))
    assert done.code == 0
    assert f"charrnn: warning: {said}" in done.stderr or f"; {said}" in done.stderr


def test_a_text_may_begin_with_a_dash_or_be_an_option(invoke: Invoke, desk: Path) -> None:
    for text in ("-n", "--", "--temp", "- milk"):
        assert invoke("sample", "-c", "run", "-p", text, "-n", "0", "-q").code == 0
    assert invoke("score", "./-dash.txt", "-c", "run").code == 0
    assert invoke("score", "-c", "run", "--", "-dash.txt").code == 0


def test_there_are_forty_and_none_twice() -> None:
    lines = [line for line, _, _ in MISTAKES]
    assert len(lines) == len(set(lines)) > 40


SHELL = [
    ("charrnn sample -c run -n 9 > /dev/full", 1, "charrnn: stdout: No space left on device"),
    ("charrnn sample -c run -n 99999 | head -c 1 > /dev/null; exit ${PIPESTATUS[0]}", 141, ""),
    ("cat novel.txt | charrnn train", 2, "name a file, a directory, or - for stdin"),
    ("charrnn train - < /dev/null", 1, "charrnn: stdin: holds no text"),
    ("mkdir gone && cd gone && rmdir ../gone && charrnn train a.txt", 1, "the current directory has been removed"),
    (
        "mkdir gone && cd gone && rmdir ../gone && charrnn train ../novel.txt --steps 1",
        1,
        "the current directory has been removed",
    ),
    ("mkdir gone && cd gone && rmdir ../gone && charrnn info", 1, "the current directory has been removed"),
    ("CHARRNN_CHECKPOINT=nowhere charrnn sample", 1, "(CHARRNN_CHECKPOINT names it)"),
    ("CHARRNN_DEVICE=gpu charrnn train novel.txt", 2, "not gpu (CHARRNN_DEVICE names it)"),
    ("charrnn export /sys/page.html -c run", 1, "/sys/page.html: can't write: "),
    ("charrnn train novel.txt --out /proc/self/run --steps 1", 1, "can't make the run's directory"),
]


@pytest.mark.skipif(sys.platform != "linux", reason="these devices and file systems are Linux's")
@pytest.mark.parametrize(("line", "code", "said"), SHELL, ids=[line for line, _, _ in SHELL])
def test_a_mistake_in_a_shell_is_told_too(desk: Path, line: str, code: int, said: str) -> None:
    command = desk / "bin/charrnn"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m charrnn "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", line], cwd=desk, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code
    assert said in (done.stderr.splitlines() or [""])[-1]
    assert "Traceback" not in done.stderr
