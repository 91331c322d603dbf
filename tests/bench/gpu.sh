#!/bin/sh
# Everything that is to be measured on a GPU, in at most 8 minutes, into one file:
#
#     sh tests/bench/gpu.sh [FILE] [TEXT]
#
# FILE is gpu.txt unless given. TEXT is tinyshakespeare, which a minute of training takes; without it that part is left out.
# Ends with 0 once all was measured, 1 if a part failed or there is no GPU.
set -u
here=$PWD
cd "$(dirname "$0")/../.." || exit 1
file=${1:-gpu.txt}
text=${2:-}
python=${PYTHON:-python}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' > /dev/null 2>&1; then
    echo "gpu.sh: $python finds no CUDA GPU through torch; nothing was measured" >&2
    exit 1
fi
case $file in /*) ;; *) file=$here/$file ;; esac
case $text in '' | /*) ;; *) text=$here/$text ;; esac
failed=0

part() { # seconds, title, command...
    limit=$1 title=$2
    shift 2
    printf '\n## %s\n\n$ %s\n' "$title" "$*"
    timeout -k 5 "$limit" "$@" 2>&1
    code=$?
    [ $code -eq 0 ] || { failed=1; printf 'exit code %s%s\n' "$code" "$([ $code -ne 124 ] || echo ': out of time')"; }
}

measure() {
    part 20 "The machine" "$python" tests/bench/gpu.py machine
    part 90 "Tests" "$python" -m pytest -q -n 0 -m cuda
    part 60 "Scores on the GPU and on the CPU (within 1e-3 bits)" "$python" tests/bench/gpu.py scores
    part 90 "A whole step beside the bare cuDNN kernel (goal: 80 %)" "$python" tests/bench/gpu.py steps
    part 50 "Sampling 4,096 streams" "$python" tests/bench/gpu.py sampling
    part 30 "Memory" "$python" tests/bench/gpu.py memory
    if [ -n "$text" ]; then
        part 120 "tinyshakespeare in one minute (goal: 1.40 nats, better 1.37)" "$python" tests/bench/gpu.py minute "$text"
    fi
    exit $failed
}

(measure) > "$file"
failed=$?
cat "$file"
exit $failed
