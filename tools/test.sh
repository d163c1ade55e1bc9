#!/usr/bin/env bash
# Runs all tests, stage by stage with their times: `tools/test.sh sample|full`. The slow builds start first, beside the fast tests.
set -euo pipefail
cd "$(dirname "$0")/.."
export HYPOTHESIS_PROFILE=$1
started=$SECONDS
logs=$(mktemp -d)
trap 'kill "${building:-}" 2>/dev/null || true; rm -rf "$logs"' EXIT

stage() { # stage TITLE COMMAND...: run, say how long it took, stop at the first failure
  local title=$1 begun=$SECONDS
  shift
  echo "== $title"
  "$@" || { echo "== $title FAILED after $((SECONDS - begun)) s"; exit 1; }
  echo "== $title: $((SECONDS - begun)) s"
}

node=yes
python3 tools/cluster check || node=no

# The images take minutes of downloads the first time; they are made while the Go programs are built and the first tests run.
if [ "$node" = yes ]; then
  python3 tools/images build >"$logs/images" 2>&1 &
  building=$!
fi
stage "programs" make --no-print-directory tools
stage "environment" make --no-print-directory .venv/.test
if [ "$1" = full ]; then
  stage "scanner" make --no-print-directory .venv/checkov/bin/checkov
fi
stage "unit tests" .venv/bin/pytest -q -n 2 tests/unit
stage "server tests" .venv/bin/pytest -q tests/server
# Half of it is waiting: two files at a time, each process with a control plane of its own.
stage "control plane tests" .venv/bin/pytest -q -n 2 --dist loadfile tests/controlplane
stage "faults" bash tools/faults.sh
if [ "$node" = yes ]; then
  wait "$building" || { cat "$logs/images"; echo "== images FAILED"; exit 1; }
  building=
  tail -n 5 "$logs/images"
  stage "end-to-end tests" .venv/bin/pytest -q tests/e2e
else
  echo "== end-to-end tests SKIPPED: this machine cannot run a node (see above)"
fi
echo "== all tests ($1) passed in $((SECONDS - started)) s"
