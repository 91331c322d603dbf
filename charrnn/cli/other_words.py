"""What other programs call our commands and options.

These are char-rnn and torch-rnn, textgenrnn, nanoGPT, makemore, llama.cpp and transformers. Each table has ours beside theirs,
which stand in one string.
"""

VERBS = {
    "train": "learn build preprocess prepare tokenize",
    "train or charrnn classify fit": "fit",
    "train --resume latest": "resume continue restart",
    "train CORPUS --init-from PATH": "finetune fine-tune adapt",
    "sample": "generate gen write complete speak",
    "sample -i": "chat interactive talk repl converse",
    "score": "eval evaluation test perplexity ppl loss validate rank",
    "score or charrnn classify evaluate": "evaluate",
    "classify": "classification classifier intent intents categorize categorise label",
    "encode": "embed embedding embeddings vectors vectorize vectorise features",
    "next": "prediction probs probabilities logits",
    "next or charrnn classify predict": "predict",
    "info": "list ls show runs models describe status checkpoints",
    "inspect": "visualize visualise plot analyze analyse explain view html memory gradient gradients gates units",
    "bench": "benchmark speed timing",
    "cache": "clean prune purge",
    "--help": "usage",
}
"""Other words for each command."""

GROUPED = {
    "fit": "train learn build finetune fine-tune",
    "predict": "classify ask run infer label test",
    "evaluate": "eval evaluation score accuracy validate",
}
"""Other words for the commands of `charrnn classify`."""

UNGROUPED = {
    "export": "PAGE.html -c CLASSIFIER",
    "inspect": "TEXT --html PAGE.html --classifier CLASSIFIER",
    "info": "CLASSIFIER",
}
"""Commands for classifiers that stand outside of that group, and how they take one."""

OPTIONS = {
    "--length": "max-new-tokens max-tokens max-length max-gen-length gen-length new-tokens n-predict num-predict predict"
    " predict-len num-chars n-chars chars characters num-characters tokens num-tokens words l",
    "--length -1": "endless infinite forever",
    "--num-samples": "num-return-sequences n-samples samples num-texts number count names num-names",
    "--not-in": "new novel exclude ignore",
    "--unique": "no-duplicates no-repeats no-dupes dedup dedupe deduplicate distinct uniq",
    "--records": "list names lines line by-line per-line",
    "--separator | --field NAME, which finds out what separates the columns": "sep delimiter delim separator",
    "--field": "column col columns key header header-name text-column",
    "--temp": "t sample sampling",
    "--temp 0": "greedy argmax do-sample",
    "--top-k | --top": "k top-n",
    "--top": "n proba probs probabilities",
    "--typical": "typical-p",
    "--repetition-penalty": "repeat-penalty rep-penalty presence-penalty frequency-penalty",
    "--repetition-window": "repeat-last-n",
    "--bias": "logit-bias",
    "--stop": "r reverse-prompt stop-sequence stop-string stop-token eos until",
    "--no-echo": "no-display-prompt no-prompt",
    "--interactive": "chat repl cnv conversation",
    "--prompt | PROMPT | TEXT | TEXT...": "start prime primetext prime-text prime-str prime-string start-text start-string"
    " seed-text seed-string prefix starts-with start-with begins-with begin-with starting-with context in-prefix"
    " text input-text p prompt",
    "--bptt | --window": "seq-length seq-len seq-size sequence-length seqlen block-size chunk-len chunk-length chunk-size"
    " context-size context-length ctx-size unroll unroll-length max-seq-length num-steps window-size",
    "--hidden-size": "rnn-size rnn-units hidden-dim hidden-units num-units n-units units n-hidden num-hidden nhid lstm-size"
    " n-embd2 state-size hsize",
    "--embedding-size": "n-embd embd emb-dim emb-size emsize embed-size embed-dim embedding-dim dim-embeddings wordvec-size",
    "--layers": "num-layers n-layers n-layer nlayers num-layer rnn-layers depth",
    "--cell | --checkpoint": "model",
    "--cell": "model-type rnn-type rnn-cell rnn cell-type type arch architecture unit-type",
    "--cell lstm": "lstm",
    "--cell gru": "gru",
    "--lr": "learning-rate learningrate peak-lr max-lr",
    "--epochs": "max-epochs num-epochs n-epochs num-train-epochs e",
    "--steps": "max-iters max-steps max-iter iterations iters n-iters num-iters num-iterations n-steps niter updates",
    "--minutes | --seconds": "time max-time duration max-minutes minutes seconds m",
    "--batch-size": "b batch bs batchsize minibatch-size mini-batch-size per-device-train-batch-size",
    "--grad-clip": "clip clip-grad clip-norm max-grad-norm gradient-clip gradient-clipping grad-norm",
    "--grad-clip 1e9": "no-clip no-clipping no-grad-clip no-gradient-clipping",
    "--weight-decay": "wd l2 decay",
    "--optimizer": "optim optimiser",
    "--dropout": "dropout-rate drop dropout-p",
    "--val-fraction": "val-frac val-split validation-split validation-fraction valid-fraction test-frac test-fraction val-size"
    " test-size test-split",
    "--val-lines | --val": "validation valid dev val-file val-data validation-file validation-data valid-file dev-file",
    "--balance": "class-weight class-weights balanced",
    "--longest": "max-length max-len maxlen max-seq-length max-seq-len",
    "--threshold": "confidence min-confidence min-probability min-prob cutoff",
    "--eval-every": "eval-interval eval-val-every eval-steps evaluate-every",
    "--log-every": "log-interval print-every logging-steps",
    "--save-every": "save-interval checkpoint-every save-steps",
    "--device cuda": "gpu gpuid gpu-id gpus cuda use-cuda use-gpu ngl n-gpu-layers",
    "--device mps": "mps metal",
    "--device cpu": "cpu no-cuda no-gpu",
    "--precision": "dtype amp mixed-precision",
    "--precision fp16": "fp16 half",
    "--precision bf16": "bf16",
    "--precision fp32": "fp32",
    "--workers": "threads num-threads n-threads num-workers jobs j t",
    "--seed": "s random-seed rng-seed manual-seed",
    "--level byte": "byte bytes byte-level",
    "--level char": "char char-level character-level",
    "--min-count": "min-freq min-frequency threshold",
    "--out | --out-dir | --html | --npz | PAGE.html": "out o output output-dir output-directory save-dir work-dir outf"
    " output-file outfile run-dir savefile checkpoint-dir checkpoint-name log-dir save",
    "--resume or --init-from | --checkpoint | PATH": "c checkpoint load load-model load-from weights ckpt m model-path"
    " model-file model-name-or-path network run",
    "--resume": "resume-from resume-from-checkpoint continue restart r",
    "--init-from | --checkpoint": "init init-from pretrained finetune fine-tune warm-start",
    "CORPUS... | FILE... | --file | --prompt-file": "f i data data-dir dataset input input-file input-txt train-file train-data"
    " corpus file files text text-file",
    "--per-char": "char-level chars characters by-char",
    "--lines": "l by-line line num-lines max-lines",
    "--json": "format output-format jsonl",
    "--quiet": "silent",
    "--svg": "image picture figure png",
    "--html | PAGE.html": "page report html",
    "--npz": "traces npy",
    "--contribution": "saliency attribution",
    "--memory": "gradient gradients grad grads gradient-flow vanishing reach forgetting half-life",
    "--unit": "neuron neuron-index unit-index",
    "--units": "neurons features correlation correlations",
    "--color surprise": "surprise surprisal loss heatmap",
    "--color entropy": "entropy",
    "charrnn inspect TEXT, which shows the gates; --npz FILE holds each": "gate gates forget forget-gate input-gate output-gate"
    " update-gate reset-gate activations time-constant time-constants",
    "--version": "v V",
    "charrnn sample": "generate sample-only sampling",
    "charrnn score": "eval evaluate test score perplexity ppl",
    "charrnn train": "train",
}
"""Other words for our options, or for what to do instead; of answers with a bar between them the first that the command has."""

IN_SHELL = {
    "> FILE": "out o output outfile output-file output-path out-file save write",
    "| grep -xE '.{5,}'": "min-length min-len minimum-length min-chars",
    "| head -N": "n top limit head num-lines max-lines rows count",
}
"""Other programs' words for what a shell does with their product."""

LABELLED = {
    "name it without an option: COMMAND LABELLED": "f i data dataset input file files train train-file train-data corpus text"
    " texts",
    "its first line names the columns: text,label": "field column col columns header text-column text-col text-field label"
    " labels label-column label-col label-field target class",
    "say charrnn classify evaluate": "test test-file eval evaluate score",
}
"""Other programs' options for labelled texts, and what to do instead."""
