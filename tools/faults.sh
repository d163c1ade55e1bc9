#!/usr/bin/env bash
# The faults at full size. The last line is one JSON object with what was found; the exit status says whether all held.
set -uo pipefail
cd "$(dirname "$0")/.."
export HYPOTHESIS_PROFILE=full FAULTS_REPORT
FAULTS_REPORT=$(mktemp)
quiet_log=$(mktemp)
trap 'kill "${quiet:-}" 2>/dev/null || true; rm -f "$FAULTS_REPORT" "$quiet_log"' EXIT
started=$SECONDS

# Ten minutes of silence need a cluster and an operator of their own, but hardly any CPU: the rest runs meanwhile.
.venv/bin/pytest -s -q tests/faults/test_quiet.py >"$quiet_log" 2>&1 &
quiet=$!
status=0
.venv/bin/pytest -s -q tests/faults/test_sweep.py tests/faults/test_sequences.py || status=$?
echo "== silence, with a cluster of its own since the beginning"
wait "$quiet" || status=$?
quiet=
cat "$quiet_log"
echo "== faults: $((SECONDS - started)) s"
.venv/bin/python tests/faults/report.py "$FAULTS_REPORT"
exit "$status"
