"""Usage errors name the right spelling of what was plainly meant, and the help of the command that has it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import FABLES

from charrnn import absent
from charrnn.cli import misspelled

Invoke = Callable[..., Any]

# What people type who know char-rnn, torch-rnn, textgenrnn, nanoGPT, makemore, llama.cpp or transformers; what the line says;
# and whose help it names.
TABLE = [
    ("train -data_dir data/tale", "name it without an option: charrnn train CORPUS...", "train"),
    ("train text -m 3", "say --minutes", "train"),
    ("train text -e 3", "say --epochs", "train"),
    ("train text -r", "say --resume", "train"),
    ("train text --lines", "say --records", "train"),
    ("train text --list", "say --records", "train"),
    ("train text --column name", "say --field", "train"),
    ("train text --sep ;", "say --field NAME, which finds out what separates the columns", "train"),
    ("sample --sep ;", "say --separator", "sample"),
    ("sample --number 3", "say --num-samples", "sample"),
    ("sample --new", "say --not-in", "sample"),
    ("generate", "charrnn sample", "sample"),
    ("eval text", "charrnn score", "score"),
    ("test text", "charrnn score", "score"),
    ("perplexity text", "charrnn score", "score"),
    ("fit text", "charrnn train", "train"),
    ("predict The", "charrnn next", "next"),
    ("finetune text", "--init-from", "train"),
    ("resume", "--resume", "train"),
    ("chat", "charrnn sample -i", "sample"),
    ("list", "charrnn info", "info"),
    ("visualize", "charrnn inspect", "inspect"),
    ("Train text", "charrnn train", "train"),
    ("trian text", "charrnn train", "train"),
    ("text", "charrnn train text", "train"),
    ("run", "charrnn sample -c run", "sample"),
    ("sample help", "what it does is told by charrnn sample --help", "sample"),
    ("usage", "charrnn --help", ""),
    ("-v", "--version", ""),
    ("sample --version", "charrnn --version", "sample"),
    ("--temp 0.5 sample", "charrnn sample --temp", "sample"),
    ("sample -t 0.8", "--temp", "sample"),
    ("sample --max-new-tokens 5", "--length", "sample"),
    ("sample --max_new_tokens=5", "--length", "sample"),
    ("sample --tokens 5", "--length", "sample"),
    ("sample --n-predict 5", "--length", "sample"),
    ("sample -l 5", "--length", "sample"),
    ("sample --max_gen_length 5", "--length", "sample"),
    ("sample -length 5", "--length", "sample"),
    ("sample --start Once", "--prompt", "sample"),
    ("sample --primetext Once", "--prompt", "sample"),
    ("sample -primetext Once", "--prompt", "sample"),
    ("sample --prime Once", "--prompt", "sample"),
    ("sample --prefix Once", "--prompt", "sample"),
    ("sample -start_text Once", "--prompt", "sample"),
    ("sample -prompt Once", "--prompt", "sample"),
    ("sample Once", "say -p: charrnn sample -p Once", "sample"),
    ("sample -p Once upon a time", "-p 'Once upon a time'", "sample"),
    ("sample run", "-c run", "sample"),
    ("sample text", "--prompt-file text", "sample"),
    ("sample --top_k 5", "--top-k", "sample"),
    ("sample --TOP-K 5", "--top-k", "sample"),
    ("sample --top 5", "--top-k or --top-p", "sample"),
    ("sample -k 5", "--top-k", "sample"),
    ("sample --repeat-penalty 1.1", "--repetition-penalty", "sample"),
    ("sample --repeat_last_n 64", "--repetition-window", "sample"),
    ("sample --num_return_sequences 3", "--num-samples", "sample"),
    ("sample -num_samples 3", "--num-samples", "sample"),
    ("sample --greedy", "--temp 0", "sample"),
    ("sample -s 7", "--seed", "sample"),
    ("sample -seed 7", "--seed", "sample"),
    ("sample --reverse-prompt x", "--stop", "sample"),
    ("sample --model run", "--checkpoint", "sample"),
    ("sample -m run", "--checkpoint", "sample"),
    ("sample -checkpoint run", "--checkpoint", "sample"),
    ("sample --gpu 0", "--device cuda", "sample"),
    ("sample --lenght 5", "--length", "sample"),
    ("sample --colour surprise", "--color", "sample"),
    ("sample --file text", "--prompt-file", "sample"),
    ("sample --cell gru", "it belongs to charrnn train", "sample"),
    ("train text --learning-rate 0.1", "--lr", "train"),
    ("train text --learning_rate 0.1", "--lr", "train"),
    ("train text -lr 0.1", "--lr", "train"),
    ("train text --seq_length 50", "--bptt", "train"),
    ("train text --block_size 50", "--bptt", "train"),
    ("train text -rnn_size 50", "--hidden-size", "train"),
    ("train text --rnn_size 50", "--hidden-size", "train"),
    ("train text --hidden 50", "--hidden-size", "train"),
    ("train text --hidden_size 50", "--hidden-size", "train"),
    ("train text --n_embd 50", "--embedding-size", "train"),
    ("train text --num_layers 2", "--layers", "train"),
    ("train text --n_layer 2", "--layers", "train"),
    ("train text --model gru", "--cell", "train"),
    ("train text --lstm", "--cell lstm", "train"),
    ("train text --max_epochs 2", "--epochs", "train"),
    ("train text --num_epochs 2", "--epochs", "train"),
    ("train text --max_iters 2", "--steps", "train"),
    ("train text --iterations 2", "--steps", "train"),
    ("train text --batchsize 2", "--batch-size", "train"),
    ("train text --clip 5", "--grad-clip", "train"),
    ("train text --val_frac 0.1", "--val-fraction", "train"),
    ("train text --eval_interval 10", "--eval-every", "train"),
    ("train text --print_every 10", "--log-every", "train"),
    ("train text --gpu 0", "--device cuda", "train"),
    ("train text --dtype bf16", "--precision", "train"),
    ("train text --threads 2", "--workers", "train"),
    ("train text --output_dir runs", "--out", "train"),
    ("train text -c run", "--resume or --init-from", "train"),
    ("train --data_dir texts", "charrnn train CORPUS...", "train"),
    ("train --input text", "charrnn train CORPUS...", "train"),
    ("score --file text", "charrnn score FILE...", "score"),
    ("score text --temp 1", "it belongs to charrnn sample", "score"),
    ("next -p The", "charrnn next PROMPT", "next"),
    ("next The fox", "several words in quotes", "next"),
    ("next The -n 5", "--top", "next"),
    ("inspect -p The", "charrnn inspect TEXT", "inspect"),
    ("inspect -o page.html", "--html", "inspect"),
    ("inspect --gradient The", "say --memory", "inspect"),
    ("inspect The --forget", "say charrnn inspect TEXT, which shows the gates", "inspect"),
    ("inspect The --neuron 0:7", "say --unit", "inspect"),
    ("train text --no-clip", "say --grad-clip 1e9", "train"),
    ("info -c run", "charrnn info PATH", "info"),
    ("bench --minutes 1", "--seconds", "bench"),
    ("info -q", "other commands have it; charrnn info goes without", "info"),
    ("cache --quiet", "other commands have it; charrnn cache goes without", "cache"),
    ("encode text --npz v.npz --json", "other commands have it; charrnn encode goes without", "encode"),
    ("info run text", "or the directory that holds them, for a list: charrnn info .", "info"),
    ("sample --temp 0,8", "write 0.8", "sample"),
    ("sample --temp 80%", "write 0.8", "sample"),
    ("sample --temp 0,5:1.2", "write 0.5", "sample"),
    ("sample -n=30", "write 30", "sample"),
    ("sample -n 1,000", "write 1000", "sample"),
    ("train text --steps 1e4", "write 10000", "train"),
    ("train text --steps 10k", "write 10000", "train"),
    ("train text --steps 100.0", "write 100", "train"),
    ("train text --dropout 0,3", "write 0.3", "train"),
    ("sample -c run --clamp 0:16c=1", "say --clamp 0:16=1", "sample"),
    ("sample -n", "'-n' requires an argument", "sample"),
    ("score", "FILE", "score"),
    ("sample --json=3", "--json", "sample"),
]


@pytest.mark.parametrize(("words", "said", "verb"), TABLE, ids=[words for words, _, _ in TABLE])
def test_what_was_plainly_meant_is_named(invoke: Invoke, tmp_path: Path, words: str, said: str, verb: str) -> None:
    (tmp_path / "text").write_text("a text\n")
    (tmp_path / "run").symlink_to(FABLES)
    done = invoke(*words.split())
    assert (done.code, done.stdout) == (2, "")
    assert re.fullmatch(r"charrnn: [^\n]{1,250}\n", done.stderr)
    message, _, help_of = done.stderr.rpartition(" (see ")
    assert said in message
    assert help_of == f"charrnn {verb} --help)\n".replace("  ", " ")


@pytest.mark.parametrize(("word", "run"), [("text", "text-2"), ("text-2", "text-2"), ("text.txt", "text-2"), ("gone", "gone")])
def test_the_run_that_learned_a_text_is_sampled_not_the_text(invoke: Invoke, tmp_path: Path, word: str, run: str) -> None:
    for name in ("text", "text.txt"):
        (tmp_path / name).write_text("a text\n")
    for when, name in enumerate(("text", "text-2", "gone", "gone-2")):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "best.safetensors").touch()
        os.utime(tmp_path / "checkpoints" / name / "best.safetensors", (when, when))
    assert f"say -c: charrnn sample -c checkpoints/{run} (" in invoke("sample", word).stderr


@pytest.mark.parametrize("before", [[], ["sample"]])
def test_a_text_that_is_too_long_for_a_files_name_is_no_bug(invoke: Invoke, before: list[str]) -> None:
    done = invoke(*before, "once upon a time " * 400)
    assert done.code == 2
    assert re.fullmatch(r"charrnn: [^\n]{1,250}\n", done.stderr)


@pytest.mark.parametrize(
    "words",
    ["score --count x", "sample --bogus", "info -z", "trombone", "sample --verbose", "bench --loud", "train x --top-p 1 -y"],
)
def test_what_would_be_no_help_is_not_suggested(invoke: Invoke, words: str) -> None:
    done = invoke(*words.split())
    assert done.code == 2
    assert not re.search("; say|Possible|Did you mean", done.stderr)


@pytest.mark.parametrize(
    "words",
    ["sample --device CPU --seed 1 -n 3", "sample --color Never -n 3", "inspect ab --color Surprise", "sample -c latest -n 3"],
)
def test_what_is_plainly_meant_works(invoke: Invoke, tmp_path: Path, words: str) -> None:
    (tmp_path / "checkpoints/one").mkdir(parents=True)
    (tmp_path / "checkpoints/one/best.safetensors").symlink_to(FABLES / "best.safetensors")
    assert invoke(*words.split()).code == 0


def test_words_may_be_in_upper_case(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a text\n" * 50)
    choices = "--cell GRU --precision FP32 --device Cpu --level Char --optimizer AdamW --workers AUTO"
    done = invoke("train", "text", "--dry-run", "--steps", "5", *choices.split(), "--json")
    assert done.code == 0, done.stderr
    assert '"cell": "gru"' in done.stdout


def test_among_thousands_of_names_few_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = list[Path]()
    monkeypatch.setattr(Path, "exists", lambda path: looks.append(path))
    words = [f"{number}.txt" for number in range(3000)]
    misspelled.placed(absent.AbsentError("7.txt", "No such file", ""), ["score", *words], None)
    assert 0 < len(looks) < misspelled.MOST_WORDS**2
