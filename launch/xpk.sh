#!/usr/bin/env bash
# Train on a GKE cluster through XPK: one JobSet that restarts itself after every preemption.
# Usage: CLUSTER=... TYPE=... IMAGE=... launch/xpk.sh NAME training arguments
#   CLUSTER=pods TYPE=v5p-128 IMAGE=us-docker.pkg.dev/PROJECT/REPO/jaxedit launch/xpk.sh sar-2b \
#     --config=configs/var_sar.py:2b --workdir=gs://my-bucket/2b
# IMAGE is made and pushed by
#   docker build --tag "$IMAGE" --file launch/Dockerfile . && docker push "$IMAGE"
# PROJECT and ZONE, if not gcloud's; SLICES=1; RESTARTS=100; XPK=xpk is the command; DRY_RUN=1 only
# writes what would be submitted into NAME.yaml. Then: xpk workload list, xpk workload delete.
# XPK starts again after exit codes 42 and 127 to 255, ends with success after 0, else fails.
set -euo pipefail

fail() { echo "error: $*" >&2; exit 2; }

[ $# -gt 1 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
name=$1 && shift
for setting in CLUSTER TYPE IMAGE; do
  [ -n "${!setting:-}" ] || fail "$setting is missing: set it before the command"
done
[[ " $* " == *" --workdir=gs://"* ]] || fail "expected --workdir=gs://...: a pod's disk goes with it"

options=(
  "--workload=$name" "--cluster=$CLUSTER" "--tpu-type=$TYPE" "--num-slices=${SLICES:-1}"
  "--docker-image=$IMAGE" "--max-restarts=${RESTARTS:-100}"
  # a checkpoint may take minutes; exec, so that the signal to save reaches Python
  --termination-grace-period-seconds=300
  "--command=exec python -m jaxedit.train $(printf '%q ' "$@")"
)
[ -z "${PROJECT:-}" ] || options+=("--project=$PROJECT")
[ -z "${ZONE:-}" ] || options+=("--zone=$ZONE")
[ -z "${DRY_RUN:-}" ] || options+=(--dry-run --skip-validation "--output-manifest-file=$name.yaml")
exec "${XPK:-xpk}" workload create "${options[@]}"
