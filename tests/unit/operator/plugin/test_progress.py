"""What is told of a ModelService that is watched, and when the watch ends."""

from __future__ import annotations

from modelservice_operator.plugin.progress import Change, Outcome, changes, outcome
from unit.operator.plugin.services import (
    AVAILABLE,
    CANDIDATE,
    COMES,
    PROMOTED,
    READY,
    REFUSED,
    ROLLING,
    ROLLING_OUT,
    ROLLOUT,
    SERVES,
    SETTLED,
    STABLE,
    STALLED,
    UNSEEN,
    Body,
    service,
)


def told(before: Body | None, after: Body) -> list[str]:
    return [each.message for each in changes(before, after)]


def test_the_first_look_tells_what_is_so_without_old_decisions() -> None:
    assert told(None, ROLLING_OUT) == [
        f"Rollout of {CANDIDATE}: Analysing, step 1, 25% of the requests: 31 of 100 requests seen.",
        "Gate f1: Passed (0.914, limit 0.90)",
        "Gate latency_p95: Pending (limit 50ms)",
        f"{STABLE}: Stable, 3 of 3 pods ready, 75% of the requests",
        f"{CANDIDATE}: Candidate, 1 of 2 pods ready, 25% of the requests",
        "Ready False, RollingOut: Waiting for the next pod.",
        "Available True, Serving: At least one pod that carries traffic is ready.",
    ]


def test_nothing_is_told_twice() -> None:
    assert told(ROLLING_OUT, ROLLING_OUT) == []


def test_each_change_is_a_line() -> None:
    before = service(status={"conditions": [ROLLING], "revisions": [SERVES, COMES], "rollout": ROLLOUT})
    ready = [SERVES | {"ready": 2, "replicas": 2}, COMES | {"ready": 2}]
    gates = [ROLLOUT["gates"][0], {"name": "latency_p95", "verdict": "Passed", "value": "41ms", "limit": "50ms"}]
    rollout = ROLLOUT | {"step": 2, "weight": "50%", "message": "", "gates": gates}
    after = service(status={"conditions": [ROLLING, STALLED], "revisions": ready, "rollout": rollout})
    assert changes(before, after) == [
        Change("rollout", f"Rollout of {CANDIDATE}: Analysing, step 2, 50% of the requests"),
        Change("gate latency_p95", "Gate latency_p95: Passed (41ms, limit 50ms)"),
        Change(f"revision {STABLE}", f"{STABLE}: Stable, 2 of 2 pods ready, 100% of the requests"),
        Change(f"revision {CANDIDATE}", f"{CANDIDATE}: Candidate, 2 of 2 pods ready, 25% of the requests"),
    ]


def test_the_end_of_a_rollout_is_told_with_its_decision_and_what_went() -> None:
    before = service(status={"conditions": [ROLLING], "revisions": [SERVES, COMES], "rollout": ROLLOUT})
    after = service(status={"conditions": [READY], "revisions": [SERVES], "history": [REFUSED]})
    assert told(before, after) == [
        "Decided: digits-failed0000 Failed, GateFailed: f1 is 0.71, and 0.90 is the least.",
        f"Ready True, Ready: Revision {STABLE} serves.",
        f"{CANDIDATE}: gone.",
    ]
    later = service(status={**after["status"], "history": [PROMOTED, REFUSED]})
    assert told(after, later) == [f"Decided: {STABLE} Promoted"]
    assert told(later, after) == []  # a line that left the history is no news


def test_today_s_status_is_enough() -> None:
    of = service(status={"conditions": [AVAILABLE], "rollout": {"phase": "Rolling", "revision": CANDIDATE}})
    assert told(None, of)[0] == f"Rollout of {CANDIDATE}: Rolling"


def test_a_spec_that_nobody_has_looked_at_is_told_and_is_no_end() -> None:
    assert told(None, UNSEEN) == ["No operator has looked at generation 4 of the spec yet."]
    assert outcome(UNSEEN) is None
    changed = {**SETTLED, "metadata": {**SETTLED["metadata"], "generation": 5}}
    assert told(SETTLED, changed) == ["No operator has looked at generation 5 of the spec yet."]
    assert outcome(changed) is None


def test_the_watch_ends_when_the_latest_spec_is_in_force_or_cannot_be() -> None:
    assert outcome(SETTLED) is Outcome.READY
    assert outcome(ROLLING_OUT) is None
    assert outcome(service(status={"conditions": [ROLLING, STALLED]})) is Outcome.STALLED
