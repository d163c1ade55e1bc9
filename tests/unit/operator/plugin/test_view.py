"""How a ModelService reads on a terminal, and what scripts get."""

from __future__ import annotations

import re
import textwrap

import pytest

from modelservice_operator.plugin import view
from unit.operator.plugin.services import (
    CANDIDATE,
    DIGEST,
    FETCHED,
    PROMOTED,
    REFUSED,
    ROLLING_OUT,
    SERVES,
    SETTLED,
    STABLE,
    UNSEEN,
    UP,
    Body,
    condition,
    container,
    pod,
    service,
)

PODS = [
    pod(
        CANDIDATE, "b", container("server", waiting={"reason": "PodInitializing"}), fetch=container("fetch", running={})
    ),
    pod(STABLE, "c"),
    pod(STABLE, "a", container("server", 2, running={}), fetch=FETCHED, **UP),
]


def text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def golden(lines: str) -> str:
    return textwrap.dedent(lines).lstrip("\n")


def test_a_rollout_is_a_tree() -> None:
    assert text(view.status(ROLLING_OUT, PODS)) == golden("""
        digits in namespace ml, http://digits.ml.svc:8080
          Ready      False  RollingOut: Waiting for the next pod.
          Available  True   Serving: At least one pod that carries traffic is ready.
        Rollout of digits-next000000: Analysing, step 1, 25% of the requests: 31 of 100 requests seen.
          f1           Passed   0.914, limit 0.90
          latency_p95  Pending  limit 50ms
        Error budgets
          availability  99.9%  83% left  burn rate 0.4
          latency       99%    unknown
        Revisions
        ├─ digits-stable0000  Stable     3/3 ready  75%  s3://models/digits-stable0000@sha256:111111111111
        │  ├─ digits-stable0000-a  Ready    node-1  restarts 2
        │  └─ digits-stable0000-c  Pending  node-1
        └─ digits-next000000  Candidate  1/2 ready  25%  s3://models/digits-next000000@sha256:111111111111
           └─ digits-next000000-b  fetch: running  node-1
        Last decision: digits-failed0000 Failed, GateFailed: f1 is 0.71, and 0.90 is the least.
        """)


def test_colours_are_only_added() -> None:
    lines = view.status(ROLLING_OUT, PODS, colours=True)
    assert lines[0] == "\033[1mdigits\033[0m in namespace ml, http://digits.ml.svc:8080"
    assert lines[1] == "  Ready      \033[31mFalse\033[0m  RollingOut: Waiting for the next pod."
    assert lines[4] == "  f1           \033[32mPassed\033[0m   0.914, limit 0.90"
    assert lines[5] == "  latency_p95  \033[33mPending\033[0m  limit 50ms"
    plain = [re.sub(r"\033\[[0-9]*m", "", line) for line in lines]
    assert plain == view.status(ROLLING_OUT, PODS)


def test_what_a_status_lacks_is_left_out() -> None:
    assert text(view.status(SETTLED, [])) == golden(f"""
        digits in namespace ml
          Ready      True  Ready: Revision {STABLE} serves.
          Available  True  Serving: At least one pod that carries traffic is ready.
        Revisions
        └─ {STABLE}  Stable  3/3 ready  100%  s3://models/{STABLE}@sha256:111111111111
        """)
    assert text(view.status(UNSEEN, [])) == golden("""
        digits in namespace ml
          No operator has looked at generation 4 of the spec yet.
        """)


def test_who_may_see_no_pods_sees_the_rest() -> None:
    lines = view.status(service(paused=True, status=SETTLED["status"]), None)
    assert lines[0] == "digits in namespace ml, paused"
    assert lines[3] == "Revisions (you may not list pods here)"
    assert view.status_object(SETTLED, None)["revisions"] == [SERVES]


@pytest.mark.parametrize(
    ("found", "state", "message"),
    [
        (pod(STABLE, "a", container("server", running={}), fetch=FETCHED, **UP), "Ready", ""),
        (pod(STABLE, "a", container("server", running={}), fetch=FETCHED), "server: running", ""),
        (
            pod(STABLE, "a", container("server", 3, waiting={"reason": "CrashLoopBackOff", "message": "back-off 40s"})),
            "server: CrashLoopBackOff",
            "back-off 40s",
        ),
        (
            pod(STABLE, "a", fetch=container("fetch", terminated={"exitCode": 1, "reason": "Error"})),
            "fetch: Error",
            "",
        ),
        (
            pod(
                STABLE,
                "a",
                node="",
                conditions=[condition("PodScheduled", "False", "Unschedulable", "0/3 nodes are available.")],
            ),
            "Unschedulable",
            "0/3 nodes are available.",
        ),
        (
            pod(
                STABLE,
                "a",
                container("server", terminated={"exitCode": 137}),
                reason="Evicted",
                message="Disk is full.",
            ),
            "Evicted",
            "Disk is full.",
        ),
        (pod(STABLE, "a"), "Pending", ""),
    ],
)
def test_a_pod_is_told_by_what_holds_it_up(found: Body, state: str, message: str) -> None:
    [told] = view.status_object(SETTLED, [found])["revisions"][0]["pods"]
    assert (told["state"], told["message"]) == (state, message)


def test_a_pod_on_its_way_out_is_nothing_else() -> None:
    found = pod(STABLE, "a", container("server", running={}), **UP)
    found["metadata"]["deletionTimestamp"] = "2026-11-28T12:00:00Z"
    assert view.status_object(SETTLED, [found])["revisions"][0]["pods"][0]["state"] == "Terminating"


def test_scripts_get_the_status_with_its_pods() -> None:
    told = view.status_object(ROLLING_OUT, PODS)
    assert {name: told[name] for name in ("name", "namespace", "generation", "paused", "rollout", "history")} == {
        "name": "digits",
        "namespace": "ml",
        "generation": 4,
        "paused": False,
        "rollout": ROLLING_OUT["status"]["rollout"],
        "history": [REFUSED, PROMOTED],
    }
    first = told["revisions"][0]
    assert first["model"].endswith(DIGEST)
    assert first["pods"][0] == {
        "name": f"{STABLE}-a",
        "state": "Ready",
        "message": "",
        "node": "node-1",
        "restarts": 2,
    }


def test_the_history_is_a_table_with_reasons() -> None:
    assert text(view.history([REFUSED, PROMOTED])) == golden("""
        TIME                  REVISION           DECISION  REASON      MEASURED
        2026-11-27T09:00:00Z  digits-failed0000  Failed    GateFailed  f1 0.71
          f1 is 0.71, and 0.90 is the least.
        2026-11-27T09:00:00Z  digits-stable0000  Promoted              f1 0.902, latency_p95 41ms
        """)


def test_last_words_of_a_container_keep_their_lines_and_nothing_that_a_terminal_obeys() -> None:
    line = REFUSED | {"message": "It ended:\n\033[2Jboom\n"}
    assert view.history([line])[2:] == ["  It ended:", "  [2Jboom"]
    assert view.history([line | {"log": "Traceback:\n  \033[2JKeyError\n"}])[4:] == [
        "    Traceback:",
        "    [2JKeyError",
    ]
    [last] = view.status(service(status={"history": [line]}), [])[-1:]
    assert last.endswith("GateFailed: It ended: [2Jboom")
