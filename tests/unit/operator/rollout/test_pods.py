"""States of pods as real schedulers, kubelets and quotas write them, and the one sentence that each becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelservice_operator.api.reasons import Reason
from modelservice_operator.rollout.pods import trouble, workload
from modelservice_operator.rollout.situation import Trouble
from unit.operator.makers import DIGEST, container, deployment, pod

Body = dict[str, Any]

PULL_ERROR = (
    'rpc error: code = NotFound desc = failed to pull and unpack image "example/server:1": failed to resolve '
    'reference "example/server:1": not found'
)
NOT_IN_PATH = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
    'unable to start container process: exec: "serve": executable file not found in $PATH: unknown'
)
BACK_OFF = {
    "reason": "CrashLoopBackOff",
    "message": "back-off 10s restarting failed container=server pod=m-1-x_ml(u-1)",
}
BACK_OFF_LATER = {
    "reason": "CrashLoopBackOff",
    "message": "back-off 5m0s restarting failed container=server pod=m-1-x_ml",
}
INITIALIZING = container(waiting={"reason": "PodInitializing"})


def ended(code: int = 1, message: str = "", reason: str = "Error") -> Body:
    return {"exitCode": code, "reason": reason, "message": message}


def report(**said: object) -> str:
    return json.dumps(said)


def of_fetch(*, restarts: int = 0, last: Body | None = None, **state: Body) -> Trouble | None:
    fetch = container("fetch", restarts=restarts, last=last, **state)
    return trouble(pod(phase="Pending", initContainerStatuses=[fetch], containerStatuses=[INITIALIZING]))


def of_server(*, restarts: int = 0, up: bool = False, last: Body | None = None, **state: Body) -> Trouble | None:
    fetched = container("fetch", terminated=ended(0, report(digest=DIGEST), "Completed")) | {"ready": True}
    server = container(restarts=restarts, up=up, last=last, **state)
    return trouble(pod(initContainerStatuses=[fetched], containerStatuses=[server]))


def unscheduled(message: str, reason: str = "Unschedulable") -> Body:
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return pod(phase="Pending", conditions=[condition])


def test_a_pod_that_comes_up_is_in_no_trouble() -> None:
    assert trouble(pod(phase="Pending")) is None
    assert trouble(pod(phase="Pending", conditions=[{"type": "PodScheduled", "status": "True"}])) is None
    assert of_fetch(waiting={"reason": "PodInitializing"}) is None
    assert of_fetch(running={}) is None
    assert of_server(waiting={"reason": "ContainerCreating"}) is None
    assert of_server(running={}) is None
    assert of_server(running={}, up=True) is None


@pytest.mark.parametrize(
    ("limits", "ready", "expected"),
    [
        ({"memory": "2Gi"}, False, Reason.MEMORY_TOO_SMALL),
        ({"memory": "2Gi"}, True, None),
        ({"memory": "4Gi"}, False, None),
        ({"cpu": "1"}, False, None),
        ({"memory": "2Gi", "nvidia.com/gpu": "1"}, False, None),
    ],
)
def test_a_model_that_is_larger_than_memory_is_told_before_the_server_is_killed(
    limits: Body, ready: bool, expected: Reason | None
) -> None:
    fetched = container("fetch", terminated=ended(0, report(digest=DIGEST, bytes=3_200_000_000), "Completed"))
    server = container(running={}) | {"ready": ready}
    body = pod(initContainerStatuses=[fetched], containerStatuses=[server])
    body["spec"] = {"containers": [{"name": "server", "resources": {"limits": limits}}]}
    found = trouble(body)
    assert (found.reason if found else None) == expected
    if found:
        assert found.sentence.startswith("The files of the model have 3.2 GB, more than the memory limit of container")


def test_a_server_that_is_up_again_is_in_no_trouble() -> None:
    assert of_server(running={}, up=True, restarts=3, last=ended(137, "", "OOMKilled")) is None


@pytest.mark.parametrize(
    ("waits", "words"),
    [
        (unscheduled("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."), None),
        (unscheduled("Scheduling is blocked due to non-empty scheduling gates", "SchedulingGated"), None),
        (unscheduled("", "SchedulerError"), "SchedulerError"),
    ],
)
def test_a_pod_without_a_node_waits_in_the_scheduler_s_words(waits: Body, words: str | None) -> None:
    expected = words or waits["status"]["conditions"][0]["message"]
    assert trouble(waits) == Trouble(Reason.UNSCHEDULABLE, expected)


def test_an_image_that_cannot_be_pulled_is_one_sentence_while_the_kubelet_tries_and_while_it_backs_off() -> None:
    tries = of_server(waiting={"reason": "ErrImagePull", "message": PULL_ERROR})
    message = f'Back-off pulling image "example/server:1": ErrImagePull: {PULL_ERROR}'
    backs_off = of_server(waiting={"reason": "ImagePullBackOff", "message": message})
    assert tries == backs_off
    assert tries == Trouble(
        Reason.IMAGE_PULL_FAILED, 'Image "example/server:1" of container server cannot be pulled', PULL_ERROR
    )


def test_an_older_kubelet_that_backs_off_without_a_cause_says_the_same_message_without_words() -> None:
    tries = of_fetch(waiting={"reason": "ErrImagePull", "message": PULL_ERROR})
    backs_off = of_fetch(waiting={"reason": "ImagePullBackOff", "message": 'Back-off pulling image "example/server:1"'})
    assert tries is not None
    assert backs_off == Trouble(tries.reason, tries.message)


@pytest.mark.parametrize("kind", ["InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError"])
def test_other_faults_of_images_are_told_alike(kind: str) -> None:
    found = of_server(waiting={"reason": kind, "message": "no"})
    assert found is not None
    assert found.reason is Reason.IMAGE_PULL_FAILED


def test_a_missing_secret_is_named() -> None:
    found = of_server(waiting={"reason": "CreateContainerConfigError", "message": 'secret "tokens" not found'})
    assert found == Trouble(Reason.CONFIG_MISSING, 'Container server cannot be created: secret "tokens" not found')


def test_a_container_that_cannot_be_started_is_one_sentence_at_each_try_and_between_them() -> None:
    tries = of_server(waiting={"reason": "RunContainerError", "message": NOT_IN_PATH}, restarts=1)
    backs_off = of_server(waiting=BACK_OFF, restarts=1, last=ended(128, NOT_IN_PATH, "StartError"))
    assert tries == backs_off
    assert tries == Trouble(Reason.CRASH_LOOP, "Container server cannot be started", NOT_IN_PATH)


REFUSED = report(reason="Invalid", message="weights.safetensors is not there.")


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (ended(1, REFUSED), Trouble(Reason.LOAD_FAILED, "weights.safetensors is not there.")),
        (
            ended(1, report(reason="ConfigMissing", message="There is no token.")),
            Trouble(Reason.CONFIG_MISSING, "There is no token."),
        ),
        (ended(1, report(reason=[], message="Odd.")), Trouble(Reason.LOAD_FAILED, "Odd.")),
        (
            ended(2, "Traceback:\n  ...\nKeyError: 'a'\n"),
            Trouble(Reason.CRASH_LOOP, "Container server exits with code 2 (Error)", "Traceback: ... KeyError: 'a'"),
        ),
        (
            ended(137, "", "OOMKilled"),
            Trouble(Reason.CRASH_LOOP, "Container server exits with code 137 (OOMKilled)"),
        ),
        ({"exitCode": 1}, Trouble(Reason.CRASH_LOOP, "Container server exits with code 1 (Error)")),
        (
            ended(0, "", "Completed"),
            Trouble(Reason.CRASH_LOOP, "Container server exits with code 0 (Completed)"),
        ),
        (
            ended(1, '["not", "ours"]'),
            Trouble(Reason.CRASH_LOOP, "Container server exits with code 1 (Error)", '["not", "ours"]'),
        ),
    ],
)
def test_a_server_that_keeps_exiting_is_told_by_its_last_words(end: Body, expected: Trouble) -> None:
    """And by the same ones while it has just ended, while it waits for the next try, and during the next try."""
    assert of_server(terminated=end, restarts=1) == expected
    assert of_server(waiting=BACK_OFF, restarts=1, last=end) == expected
    assert of_server(waiting=BACK_OFF_LATER, restarts=9, last=end) == expected
    assert of_server(running={}, restarts=2, last=end) == expected
    assert of_server(waiting={"reason": "ContainerCreating"}, restarts=2, last=end) == expected


def test_only_the_end_of_a_long_log_is_told_from_the_beginning_of_a_word() -> None:
    found = of_server(waiting=BACK_OFF, last=ended(1, "word " * 300 + "end"))
    assert found is not None
    assert found.words.startswith("word ")
    assert found.words.endswith(" word end")
    assert len(found.words) <= 400
    unbroken = of_server(waiting=BACK_OFF, last=ended(1, "x" * 900))
    assert unbroken is not None
    assert unbroken.words == "x" * 400


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (
            ended(1, report(reason="DigestMismatch", message="It is sha256:2, not sha256:1.")),
            Trouble(Reason.DIGEST_MISMATCH, "It is sha256:2, not sha256:1."),
        ),
        (
            ended(1, report(reason="NotTrusted", message="The model is not signed.")),
            Trouble(Reason.NOT_TRUSTED, "The model is not signed."),
        ),
        (
            ended(1, report(reason="Unreachable", message="https://h/m.tar does not answer.")),
            Trouble(Reason.FETCH_FAILED, "https://h/m.tar does not answer."),
        ),
        (
            ended(137, "", "OOMKilled"),
            Trouble(Reason.FETCH_FAILED, "Container fetch exits with code 137 (OOMKilled)"),
        ),
    ],
)
def test_a_fetch_that_fails_is_told_by_its_report_also_while_it_is_tried_again(end: Body, expected: Trouble) -> None:
    assert of_fetch(terminated=end) == expected
    assert of_fetch(waiting=BACK_OFF, restarts=1, last=end) == expected
    assert of_fetch(running={}, restarts=1, last=end) == expected


def test_a_fetch_that_ends_well_after_a_failure_is_forgiven() -> None:
    assert of_fetch(terminated=ended(0, report(digest=DIGEST)), restarts=1, last=ended(1, "no")) is None


# -- the workload of a revision


def test_a_workload_is_what_the_deployment_says_of_what_it_was_asked_for() -> None:
    load = workload(deployment(replicas=3, ready=2), [pod(name="x"), pod(name="y"), pod(name="z")])
    assert (load.wanted, load.pods, load.ready, load.available, load.exists) == (3, 3, 2, 2, True)


def test_what_was_given_up_a_moment_ago_is_no_longer_available() -> None:
    load = workload(deployment(replicas=1, ready=3) | {}, [])
    assert (load.ready, load.available) == (1, 1)


def test_a_deployment_that_no_controller_has_seen_yet_has_nothing() -> None:
    body = deployment(replicas=2)
    del body["status"]
    load = workload(body, [])
    assert (load.wanted, load.pods, load.ready, load.available) == (2, 0, 0, 0)


def test_pods_whose_deployment_is_gone_still_count() -> None:
    load = workload(None, [pod()])
    assert (load.exists, load.pods, load.gone) == (False, 1, False)


def without_owner(body: Body) -> Body:
    return body | {"metadata": {**body["metadata"], "ownerReferences": []}}


def deleted(body: Body) -> Body:
    return body | {"metadata": {**body["metadata"], "deletionTimestamp": "2026-01-01T00:01:00Z"}}


CRASHING = {"containerStatuses": [container(waiting=BACK_OFF, last=ended(1))]}


@pytest.mark.parametrize(
    "left",
    [
        deleted(pod(**CRASHING)),
        pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
        pod(phase="Succeeded"),
        without_owner(pod(**CRASHING)),
    ],
    ids=["being deleted", "evicted", "ended", "taken out of its ReplicaSet"],
)
def test_a_pod_that_nobody_waits_for_any_more_does_not_count(left: Body) -> None:
    load = workload(deployment(replicas=0), [left])
    assert (load.gone, load.troubles) == (True, ())


TOO_LARGE = 'Usage of EmptyDir volume "model" exceeds the limit "10Mi". '
EVICTED = pod(name="evicted", phase="Failed", reason="Evicted", message=TOO_LARGE)


def at(second: int, body: Body) -> Body:
    return body | {"metadata": {**body["metadata"], "creationTimestamp": f"2026-01-01T00:00:{second:02}Z"}}


def test_an_eviction_is_told_until_a_later_pod_is_ready() -> None:
    loading = at(2, pod(name="loading", phase="Pending"))
    ready = at(2, pod(name="ready", conditions=[{"type": "Ready", "status": "True"}]))
    (told,) = workload(deployment(ready=0), [loading, EVICTED]).troubles
    assert told == Trouble(Reason.EVICTED, "A pod was evicted by its node", TOO_LARGE.strip())
    assert workload(deployment(ready=1), [ready, EVICTED]).troubles == ()
    assert workload(deployment(ready=1), [at(3, EVICTED), ready]).troubles == (told,)


def test_what_somebody_must_mend_comes_before_waiting_for_capacity() -> None:
    waits = unscheduled("0/1 nodes are available: 1 Insufficient cpu.")
    load = workload(deployment(replicas=2, ready=0), [waits, pod(name="y", **CRASHING)])
    assert [each.reason for each in load.troubles] == [Reason.CRASH_LOOP, Reason.UNSCHEDULABLE]


def test_the_same_trouble_of_many_pods_is_one() -> None:
    load = workload(deployment(replicas=3, ready=0), [pod(name=name, **CRASHING) for name in "xyz"])
    assert len(load.troubles) == 1


FORBIDDEN = 'pods "m-1-6d4cf56db6-{}" is forbidden: '
QUOTA = "exceeded quota: gpus, requested: pods=1, used: pods=2, limited: pods=2"
POLICY = 'violates PodSecurity "restricted:latest": runAsNonRoot != true (pod must not set runAsUser=0)'


@pytest.mark.parametrize(
    ("words", "reason"), [(QUOTA, Reason.WAITING_FOR_CAPACITY), (POLICY, Reason.REJECTED), ("no", Reason.REJECTED)]
)
def test_refused_pods_are_told_in_the_words_of_who_refused_them_without_the_pod_s_name(
    words: str, reason: Reason
) -> None:
    def refused(suffix: str) -> tuple[Trouble, ...]:
        message = FORBIDDEN.format(suffix) + words
        condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
        return workload(deployment(replicas=3, ready=2, conditions=[condition]), []).troubles

    assert refused("x2x7q") == refused("fw7jx") == (Trouble(reason, f"Its pods are refused: {words}"),)


def test_pods_that_are_no_longer_refused_are_in_no_trouble() -> None:
    conditions = [{"type": "ReplicaFailure", "status": "False", "message": "no"}, {"type": "Progressing"}]
    assert workload(deployment(conditions=conditions), []).troubles == ()


# -- what the first fetch found


def fetched(digest: str | None, name: str = "x", created: str = "2026-01-01T00:00:05Z", **more: Any) -> Body:  # noqa: ANN401
    said = report(digest=digest, files=1, bytes=2) if digest else ""
    found = pod(name=name, initContainerStatuses=[container("fetch", terminated=ended(0, said, "Completed"))], **more)
    found["metadata"]["creationTimestamp"] = created
    return found


def test_the_oldest_pod_that_has_fetched_says_what_the_model_is() -> None:
    pods = [fetched("sha256:2", "a", "2026-01-01T00:00:09Z"), fetched("sha256:1", "b"), pod(name="c")]
    assert workload(deployment(), pods).fetched == "sha256:1"


def test_nothing_is_known_before_a_fetch_has_ended_well() -> None:
    failing = pod(initContainerStatuses=[container("fetch", terminated=ended(1, report(digest="sha256:9")))])
    assert workload(deployment(), [pod(), failing]).fetched is None


def test_a_fetch_of_the_user_s_own_may_end_without_saying_what_it_found() -> None:
    assert workload(deployment(), [fetched(None)]).fetched == ""


def test_a_pod_of_an_earlier_service_of_the_same_name_says_nothing_about_this_one() -> None:
    before = fetched("sha256:1", created="2025-12-31T23:59:59Z")
    assert workload(deployment(), [before]).fetched is None
    assert workload(deployment(), [deleted(fetched("sha256:1"))]).fetched is None
