#!/usr/bin/env bash
# All that waits for a CUDA GPU, in at most eight minutes, from a checkout alone and without network.
#
#   bash tools/on_a_gpu.sh            on a machine with a GPU and torch, transformers, datasets, ...
#   bash tools/on_a_gpu.sh --small    the same with tiny sizes on a CPU, some three minutes
#
# Each step's figures are written before the next one begins; a step that fails or takes too long
# stops no other. Everything lies in $OUT (runs/on-a-gpu without it). REAL_MODEL and REAL_HOME, where
# set, are --model and --home of benchmarks/real.py, which gets the time that is left. PYTHON: which
# Python.
set -u
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python}
OUT=${OUT:-$PWD/runs/on-a-gpu}
mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd)
export OUT RESULTS="$OUT/results" PYTHONPATH="$PWD:$PWD/tools:$PWD/benchmarks"
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TRANSFORMERS_VERBOSITY=error PYTHONUNBUFFERED=1
MOST=480  # seconds for all of it
SMALL=${1:-}

left() { echo $((MOST - SECONDS)); }

step() {  # NAME SECONDS COMMAND...
    local name=$1 most=$2 rest from=$SECONDS rc
    shift 2
    rest=$(left)
    [ "$most" -lt "$rest" ] || most=$rest
    if [ "$most" -lt 5 ]; then
        echo "== $name: no time left" | tee -a "$OUT/summary.txt"
        return
    fi
    echo "== $name: $*" >"$OUT/$name.txt"
    timeout -k 5 "$most" "$@" >>"$OUT/$name.txt" 2>&1
    rc=$?
    tail -n 40 "$OUT/$name.txt"
    [ $rc -ne 124 ] || rc="124, longer than $most s"
    echo "== $name: exit status $rc, $((SECONDS - from)) s" | tee -a "$OUT/summary.txt"
}

: >"$OUT/summary.txt"
(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv || echo "no nvidia-smi") \
    2>/dev/null | tee -a "$OUT/summary.txt"

if [ "$SMALL" = --small ]; then
    gpu=(--small --rounds 2 --precision fp32 bf16)
    words=(--n 6 --rounds 2 --short --device cpu)
    lesson=(--profile smoke)
    export TEXTS=200
else
    gpu=(--rounds 8)
    words=(--n 200 --rounds 5 --device cuda)
    export TEXTS=20000
    lesson=(--profile colab --model advlib/checkpoints/bert-tiny --data "$OUT/stand-in")
fi

step a-training 110 "$PYTHON" benchmarks/gpu.py "${gpu[@]}"
step b-words 60 "$PYTHON" benchmarks/words.py --alone "${words[@]}"
# The world's reviews in the place of SST-2, for whoever opens it as that.
step c-stand-in 30 "$PYTHON" -c '
import os, advlib
from pathlib import Path
home = Path(os.environ["OUT"]) / "stand-in"
home.mkdir(exist_ok=True)
for split, rows in advlib.load_text("reviews", train_size=int(os.environ["TEXTS"])).items():
    rows = rows.select_columns(["text", "label"])
    names = rows.features["label"].names
    rows = rows.to_pandas()
    rows["label"] = [names[y] for y in rows["label"]]
    rows.to_csv(home / f"{split}.csv", index=False)
    print(split, len(rows))
'
step c-lesson-12 150 "$PYTHON" tools/timings.py --lesson 12 --dry "${lesson[@]}" \
    --called "bert-tiny and the world reviews"
step d-tests 70 "$PYTHON" -m pytest -q -n 0 -m gpu tests/test_gpu.py
if [ -n "${REAL_MODEL:-}" ] && [ -n "${REAL_HOME:-}" ]; then
    step e-real "$MOST" "$PYTHON" benchmarks/real.py --model "$REAL_MODEL" --home "$REAL_HOME" \
        --data sst2 --only L PGD-3 --seeds 1
else
    echo "== e-real: left out, for REAL_MODEL and REAL_HOME name no model and data" \
        | tee -a "$OUT/summary.txt"
fi
rm -rf "$OUT/stand-in"
echo && cat "$OUT/summary.txt"
