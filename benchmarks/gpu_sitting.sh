#!/usr/bin/env bash
# A sitting on a lent machine with a GPU, which comes bare (Python, PyTorch, no network) and goes back: render
# the cars, check and time the CUDA paths, train `base`, and leave the run in files of at most 15 MiB.
#
#   here    benchmarks/gpu_sitting.sh pack [handover]    .carry/part.aa, .ab, ...: what the machine lacks
#   there   benchmarks/gpu_sitting.sh put                keep the parts that came along; once for each part
#   there   benchmarks/gpu_sitting.sh setup              unpack them
#   there   benchmarks/gpu_sitting.sh data               render 5,700 + 24 vehicles, some minutes on 16 cores
#   there   benchmarks/gpu_sitting.sh check              CUDA tests and `sparsegen bench`: $OUT/bench.txt
#   there   benchmarks/gpu_sitting.sh train 8m [KEY=VALUE ...]    one sitting, and $OUT/handover
#   here    benchmarks/gpu_sitting.sh pack FOLDER/handover        and so on with the next machine
#
# Every step there takes less than ten minutes and may be a call of its own: $KEEP lives as long as the machine.
# `train` several times in a row goes on where it was; a fresh machine starts from the hand-over, if one came.
set -euo pipefail
cd "$(dirname "$0")/.."
KEEP=${KEEP:-/tmp/sitting}
OUT=${OUT:-outputs/sitting}
PART=${PART:-36M} # of what is carried at once
PYTHON_THERE=${PYTHON_THERE:-3.12}
HOURS=${HOURS:-3h} # the span of the learning rate, over all sittings
export PYTHONPATH="$PWD/src:$KEEP/site" PYTHONUNBUFFERED=1

pack() {
    rm -rf .carry && mkdir -p .carry/wheels
    local platforms=()
    for version in 2_17 2_27 2_28 2014 1; do platforms+=(--platform "manylinux${version/2_/_2_}_x86_64"); done
    python3 -m pip download --quiet --no-deps --only-binary=:all: -d .carry/wheels -c constraints.txt \
        --python-version "$PYTHON_THERE" --implementation cp "${platforms[@]}" \
        hydra-core omegaconf lightning-fabric lightning-utilities jaxtyping wadler-lindig mitsuba drjit trimesh \
        backports.zstd
    python3 -m pip wheel --quiet --no-deps -w .carry/wheels -c constraints.txt antlr4-python3-runtime
    if [ $# -gt 0 ]; then cp -r "$1" .carry/handover; fi
    (cd .carry && tar c wheels $([ $# -eq 0 ] || echo handover) | split -b "$PART" - part.)
    rm -rf .carry/wheels .carry/handover
    ls -l .carry
}

put() {
    mkdir -p "$KEEP/parts"
    cp .carry/part.* "$KEEP/parts"
    ls -l "$KEEP/parts"
}

setup() {
    cat "$KEEP"/parts/part.* | tar x -C "$KEEP"
    python3 -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --upgrade \
        --target "$KEEP/site" "$KEEP"/wheels/*.whl
    python3 -c 'import torch, mitsuba, hydra, lightning_fabric; print(torch.__version__, torch.cuda.is_available())'
    nvidia-smi --query-gpu=name,memory.used --format=csv,noheader
}

data() {
    python3 -m sparsegen data cars "$KEEP/cars.pack" -n 2500 --views 8 --pack
    python3 -m sparsegen data cars "$KEEP/racers.pack" -n 1000 --kind racing --views 8 --pack
    python3 -m sparsegen data cars "$KEEP/unusual.pack" -n 1000 --kind unusual --views 8 --pack
    python3 -m sparsegen data cars "$KEEP/varied.pack" -n 700 --kind varied --views 8 --pack
    python3 -m sparsegen data cars "$KEEP/heavy.pack" -n 500 --kind heavy --views 8 --pack
    python3 -m sparsegen data pack "$KEEP/cars.pack" "$KEEP/racers.pack" "$KEEP/unusual.pack" \
        "$KEEP/varied.pack" "$KEEP/heavy.pack" "$KEEP/cars_train.pack"
    python3 -m sparsegen data cars "$KEEP/cars_val.pack" -n 24 --split val --pack
}

check() {
    mkdir -p "$OUT"
    python3 -m pytest tests/splatting/test_cuda.py tests/splatting/test_triton_cuda.py 2>&1 | tee "$OUT/tests.txt"
    python3 -m sparsegen bench --device cuda --json "$OUT/bench.json" 2>&1 | tee "$OUT/bench.txt"
}

train() {
    local sitting=$1 run="$KEEP/runs/base"
    shift
    if [ ! -e "$run/checkpoints" ] && [ -e "$KEEP/handover" ]; then
        python3 -m sparsegen train --restore "$KEEP/handover" -o "$run"
    fi
    python3 -m sparsegen train model=base name=base runs="$KEEP/runs" data.train="$KEEP/cars_train.pack" \
        data.val="$KEEP/cars_val.pack" max_time="$HOURS" sitting="$sitting" validation.every=2m "$@"
    rm -rf "$OUT/handover" && mkdir -p "$OUT"
    python3 -m sparsegen train --shrink "$run" -o "$OUT/handover"
    python3 -m sparsegen train --curves "$run" -o "$OUT/curves.svg"
}

"${@:?pack, put, setup, data, check or train}"
