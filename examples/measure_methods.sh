#!/usr/bin/env bash
# The example clip's character by MasaCtrl, by its two other modes, and by the methods it is compared with, measured
# beside each other: examples/measure_methods.sh FOLDER [FRAMES [STEPS]]. The table of docs/measure.md is its figures.
set -euo pipefail
examples=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
frames=${2:-6} steps=${3:-10}
taken=(--select-every-nth 3 --frame-load-cap "$frames")
bear="a bear in a red shirt and blue pants"

masactrl-video frames "$examples/clip.mp4" "${taken[@]}" -o input
masactrl-video pose extract "$examples/clip.mp4" "${taken[@]}" --pose-detector demo/keypoints -o own-poses
masactrl-video pose convert own-poses --canvas 128x128 -o poses
made=(--source-prompt "$bear standing in the meadow" --source-guidance pose=standing --prompt "$bear dancing in the meadow"
  --target-guidance $(printf 'pose=%s ' poses/*.json) --num-inference-steps "$steps")
masactrl-video compare "${made[@]}" -o compared
masactrl-video synthesize "${made[@]}" --attention-mode union -o union
masactrl-video synthesize "${made[@]}" --attention-mode masked --mask-words bear -o masked

collect() { # METHOD, the pictures in order
  mkdir -p "clips/$1"
  for number in $(seq "$frames"); do cp "$2/target-$number$3.png" "clips/$1/$number.png"; done
}
for method in masactrl fixed-seed sdedit prompt-to-prompt plug-and-play; do collect $method compared "-$method"; done
for mode in union masked; do collect $mode $mode ""; done
masactrl-video measure clips/masactrl --against clips/{union,masked,fixed-seed,sdedit,prompt-to-prompt,plug-and-play} \
  --input input --source compared/source.png --poses poses --pose-detector demo/keypoints -o report
