#!/usr/bin/env bash
# Edit a list on a SLURM cluster: a job array makes the shards, and a last job joins their manifests.
# Usage: launch/batch_slurm.sh SHARDS [options of sbatch] -- arguments of python -m jaxedit
#   launch/batch_slurm.sh 16 --gpus=1 --time=4:00:00 -- \
#     --batch=list.jsonl --output=/shared/edits --model=varedit-2b-512
# Run it in the checkout, which all nodes see, with `pip install -e '.[cuda13]'` done in VENV (default
# .venv). A job that is killed or preempted is queued again and continues; rows that a failed job has
# left are made by the last job, whose exit code counts. COMMAND=jaxedit.generate draws a list.
set -euo pipefail

if [ "${1:-}" = --shards ]; then # inside a job
  shards=$2 && shift 2
  cd "$SLURM_SUBMIT_DIR"
  shard=${SLURM_ARRAY_TASK_ID:+--shard=$SLURM_ARRAY_TASK_ID/$shards}
  exec "${VENV:-.venv}/bin/python" -m "${COMMAND:-jaxedit}" "$@" ${shard:+"$shard"}
fi

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[[ ${1:-} =~ ^[1-9][0-9]*$ ]] || usage
shards=$1 && shift
options=(--job-name=jaxedit-batch --requeue --open-mode=append --parsable)
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  options+=("$1")
  shift
done
[[ " $* " == *" --batch="* ]] || usage
shift

array=$(sbatch "${options[@]}" --array="0-$((shards - 1))" "$0" --shards "$shards" "$@")
array=${array%%;*} # a federation names its cluster after it
last=$(sbatch "${options[@]}" --dependency="afterany:$array" "$0" --shards "$shards" "$@")
echo "jobs ${array}_[0-$((shards - 1))] make the shards, and job ${last%%;*} then joins them"
