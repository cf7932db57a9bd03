#!/usr/bin/env bash
# Train on Cloud TPUs: ask for them, install, train to the end through every preemption, give back.
# Usage: launch/tpu_vm.sh COMMAND --name=NAME --zone=ZONE [options] [-- training arguments]
#   launch/tpu_vm.sh run --name=sar --zone=us-east5-a --type=v5p-128 --spot -- \
#     --config=configs/var_sar.py:2b --workdir=gs://my-bucket/2b
# Commands:
#   run     all of it: create, setup, train on every worker; start again what was interrupted, ask
#           again for what was taken away; ends with the training, with its exit code. Ctrl-C ends
#           only the watching, and the same command goes on with it.
#   create  ask for the TPU (a queued resource) and wait until it is there
#   setup   copy this checkout to every worker and install it
#   status  the state of the request, and every worker's last words
#   logs    follow the log of one worker
#   stop    save and end (end `run` before: it would start again)
#   delete  give the TPU back; nothing else ends its costs
# Options: --type=v5litepod-16, v5p-128, v6e-64, ...; --spot: cheap, and taken away at any moment;
#   --slices=1; --worker=0 of logs; --project and --runtime, if not gcloud's and the type's own.
# DRY_RUN=1 prints the commands of gcloud and runs none. PERIOD=60 seconds lie between two looks.
# With several workers: ssh-add ~/.ssh/google_compute_engine, once.
set -euo pipefail

PERIOD=${PERIOD:-60} DRY_RUN=${DRY_RUN:-}

usage() { sed -n '2,20s/^# \{0,1\}//p' "$0" >&2; exit 2; }
fail() { echo "error: $*" >&2; exit 2; }
said=''
say() {
  [ "$said" = "$*" ] || echo "$(date +%H:%M:%S) $*"
  said=$*
}
rest() { [ -n "$DRY_RUN" ] || sleep "$PERIOD"; }

# gcloud in our zone. A dry run prints the command, and goes on as if it had worked.
imagined=ABSENT imagined_work=idle
exec 3>&1
tpus() {
  local words=(gcloud compute tpus "$@" "--zone=$zone" --quiet)
  [ -z "$project" ] || words+=("--project=$project")
  if [ -z "$DRY_RUN" ]; then "${words[@]}"; else { printf '%q ' "${words[@]}" && echo; } >&3; fi
}

# The queued resource.
state() {
  local found
  found=$(tpus queued-resources list "--filter=name~/$name\$" '--format=value(state.state)') ||
    { echo UNKNOWN && return; }
  [ -z "$DRY_RUN" ] || found=$imagined
  echo "${found:-ABSENT}"
}

request() {
  local nodes=("--node-id=$name")
  [ "$slices" -eq 1 ] || nodes=("--node-count=$slices" "--node-prefix=$name")
  tpus queued-resources create "$name" "--accelerator-type=$type" "--runtime-version=$runtime" \
    "${nodes[@]}" ${spot:+--spot} && imagined=ACTIVE
}

release() { tpus queued-resources delete "$name" --force && imagined=ABSENT; }

was_there=''
create() { # returns when the TPU is there
  local now
  while now=$(state) && [ "$now" != ACTIVE ]; do
    say "$name is $now"
    case $now in
      UNKNOWN) [ -n "$was_there" ] || fail "gcloud did not answer" ;;
      ABSENT) request || [ -n "$was_there" ] || fail "gcloud refused the request" ;;
      SUSPENDED | FAILED) release || say "it could not be deleted" ;;
    esac
    was_there=yes
    rest
  done
  was_there=yes
}

# The workers, of all slices.
slice_names() {
  [ "$slices" -gt 1 ] || { echo "$name" && return; }
  for ((i = 0; i < slices; i++)); do echo "$name-$i"; done
}

on_all() {
  for slice in $(slice_names); do
    tpus tpu-vm ssh "$slice" --worker=all "--command=$1" || return
  done
}

archive=''
pack() { # what git tracks or would track, without the tests
  [ -z "$archive" ] && [ -z "$DRY_RUN" ] || return 0
  archive=$(mktemp -d)/jaxedit.tar.gz
  trap 'rm -rf "$(dirname "$archive")"' EXIT
  git ls-files -z --cached --others --exclude-standard -- ':!tests' |
    while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
    tar --null -T - -czf "$archive"
}

setup() {
  pack || return
  for slice in $(slice_names); do
    tpus tpu-vm scp "${archive:-jaxedit.tar.gz}" "$slice:jaxedit.tar.gz" --worker=all || return
  done
  on_all 'mkdir -p jaxedit && tar -xzf jaxedit.tar.gz -C jaxedit &&
    jaxedit/launch/worker.sh install'
}

start() {
  on_all "jaxedit/launch/worker.sh start $(printf '%q ' "$@")" || return
  imagined_work=0
}

look() { on_all 'jaxedit/launch/worker.sh state 2>/dev/null || echo state idle'; }

work() { # the different states of workers, a word each, between spaces
  local lines
  lines=$(look 2>/dev/null) || return 0
  [ -z "$DRY_RUN" ] || lines="state $imagined_work"
  sed -n 's/^state \([a-z0-9]*\).*/\1/p' <<<"$lines" | sort -u | tr '\n' ' '
}

# The exit code that would come again, if a worker has one: others, who miss it, have codes too.
final() { tr ' ' '\n' | awk '/^[0-9]+$/ && $1 > 0 && $1 < 127 && $1 != 42 { print; exit }'; }

run() {
  local started='' failures=0 now code
  trap 'echo " the training goes on; the same command watches it again"; exit 130' INT
  while create; do
    now=" $(work)"
    code=$(final <<<"$now")
    if [ -n "$started" ] && [ -n "$code" ]; then
      echo "error: training ended with exit code $code" >&2
      look && stop
      return "$code"
    fi
    case $started$now in
      ' ' | 'yes ') say "the workers do not answer" ;;
      ' running ' | 'yes running ' | 'yes 0 running ') say "training" && started=yes ;;
      'yes 0 ') say "training has ended; launch/tpu_vm.sh delete ends the costs" && return ;;
      *)
        say "starting the training"
        if setup && start "$@"; then started=yes failures=0; else failures=$((failures + 1)); fi
        [ "$failures" -lt 5 ] || fail "setup has failed five times in a row"
        ;;
    esac
    rest
  done
}

stop() { on_all 'jaxedit/launch/worker.sh stop || true'; }
status() { echo "$name is $(state)" && look; }
logs() {
  local first=$name
  [ "$slices" -eq 1 ] || first=$name-0
  tpus tpu-vm ssh "$first" "--worker=$worker" '--command=tail -n 100 -F jaxedit/run.log'
}

runtime_of() {
  case $1 in
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v6e-*) echo v2-alpha-tpuv6e ;;
    v4-*) echo tpu-ubuntu2204-base ;;
    *) fail "--type=$1: expected v4-N, v5litepod-N, v5p-N or v6e-N, or give --runtime too;" \
      "TPU7x is lent by GKE only: launch/gke_jobset.yaml" ;;
  esac
}

verb=${1:-}
case $verb in run | create | setup | status | logs | stop | delete) shift ;; *) usage ;; esac
name='' zone='' type='' project='' runtime='' spot='' slices=1 worker=0
while [ $# -gt 0 ]; do
  case $1 in
    --name=* | --zone=* | --type=* | --project=* | --runtime=* | --slices=* | --worker=*)
      option=${1#--} && printf -v "${option%%=*}" %s "${option#*=}" ;;
    --spot) spot=yes ;;
    --) shift && break ;;
    *) fail "unknown argument $1 (arguments of the training come after --)" ;;
  esac
  shift
done
[[ $name =~ ^[a-z]([-a-z0-9]{0,60}[a-z0-9])?$ ]] ||
  fail "--name=$name: expected small letters, digits and dashes, a letter first"
[ -n "$zone" ] || fail "--zone is missing, e.g. --zone=us-east5-a"
[[ $slices =~ ^[1-9][0-9]*$ ]] || fail "--slices=$slices: expected a whole number above 0"
case $verb in run | create)
  [ -n "$type" ] || fail "--type is missing, e.g. --type=v5litepod-16"
  runtime=${runtime:-$(runtime_of "$type")}
esac
[ "$verb" != run ] || [[ " $* " == *" --workdir=gs://"* ]] ||
  fail "after -- comes --workdir=gs://...: the disks of a TPU go with it"
[ -n "$DRY_RUN" ] || command -v gcloud >/dev/null ||
  fail "gcloud is missing: https://cloud.google.com/sdk"
cd "$(dirname "$0")/.."
case $verb in delete) release ;; run) run "$@" ;; *) "$verb" ;; esac
