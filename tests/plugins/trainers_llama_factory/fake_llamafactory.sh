#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Stands for llamafactory-cli in tests: eight steps, a checkpoint after every second; FAKE_DIR/mode says what goes wrong.
set -eu
verb=$1 yaml=$2
value() { sed -n "s/^$1: \"\\(.*\\)\"\$/\\1/p" "$yaml"; }
mode=$(cat "$FAKE_DIR/mode")
calls=$(ls "$FAKE_DIR" | grep -c '^call' || true)
{ echo "verb $verb"; echo "resume ${DT2IT_RESUME_FROM:-}"; echo "python ${PYTHONPATH:-}"; cat "$yaml"; } >"$FAKE_DIR/call$calls"
model() {  # FOLDER
  mkdir -p "$1"
  echo '{"model_type": "qwen3_vl", "transformers_version": "5.6.0"}' >"$1/config.json"
  echo weights >"$1/model.safetensors"
  echo head >"$1/value_head.safetensors"
  echo '{}' >"$1/trainer_state.json"
  echo optimiser >"$1/optimizer.pt"
}
if [ "$verb" = export ]; then
  model "$(value export_dir)"
  exit 0
fi
out=$(value output_dir)
mkdir -p "$out"
last=$(ls "$out" | sed -n 's/^checkpoint-//p' | sort -n | tail -1)
echo "loading the model"
for step in $(seq $((${last:-0} + 1)) 8); do
  if [ "$step" = 4 ] && [ "$mode" = fail ]; then
    printf 'step 3\rstep 4\nTraceback\nRuntimeError: the GPU is on fire\n' >&2
    exit 3
  fi
  if [ "$step" = 6 ] && [ "$mode" = hang ]; then
    sleep 300 &
    echo $! >"$FAKE_DIR/grandchild"
    wait
  fi
  loss=0.$((90 - step))
  [ "$step:$mode" = 5:nan ] && loss=NaN
  # In two writes: half a line is no line.
  printf '{"current_steps": %d, "total_steps": 8, ' "$step" >>"$out/trainer_log.jsonl"
  sleep 0.02
  printf '"loss": %s, "lr": 1e-05, "epoch": 0.5, "percentage": 12.5}\n' "$loss" >>"$out/trainer_log.jsonl"
  if [ $((step % 2)) = 0 ]; then model "$out/checkpoint-$step"; fi
done
echo '{"current_steps": 8, "total_steps": 8, "epoch": 1.0, "percentage": 100.0}' >>"$out/trainer_log.jsonl"
[ "$mode" = headless ] || model "$out"
