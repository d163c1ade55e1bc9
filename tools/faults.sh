#!/usr/bin/env bash
# The faults, at full size unless HYPOTHESIS_PROFILE says otherwise. The last line is one JSON object with what was found;
# the exit status says whether all held.
set -uo pipefail
cd "$(dirname "$0")/.."
export HYPOTHESIS_PROFILE=${HYPOTHESIS_PROFILE:-full} FAULTS_REPORT
FAULTS_REPORT=$(mktemp)
logs=$(mktemp -d)
trap 'kill "${beside[@]}" 2>/dev/null || true; rm -rf "$FAULTS_REPORT" "$logs"' EXIT
started=$SECONDS
status=0
beside=()

# Most of it is waiting: for silence, for pods, for an operator that is there again. So all goes on at once, each on a
# cluster of its own.
for tests in "test_quiet test_sequences" "test_rollouts"; do
  # shellcheck disable=SC2086 (several files)
  .venv/bin/pytest -s -q $(printf 'tests/faults/%s.py ' $tests) >"$logs/$tests" 2>&1 &
  beside+=($!)
done
.venv/bin/pytest -s -q tests/faults/test_sweep.py || status=$?
for process in "${beside[@]}"; do
  wait "$process" || status=$?
done
beside=()
for log in "$logs"/*; do
  echo "== beside it: $(basename "$log")"
  cat "$log"
done
echo "== faults: $((SECONDS - started)) s"
.venv/bin/python tests/faults/report.py "$FAULTS_REPORT"
exit "$status"
