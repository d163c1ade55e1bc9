"""A new model earns its traffic, on a real API server: gates, steps, live requests, orders, room."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cluster import binaries
from controlplane.kubelet import Kubelet, Logs, crashing, ended, serving
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cluster.controlplane import ControlPlane
    from controlplane.services import Services

    Object = dict[str, Any]

REVISION = "modelservice.dev/revision"
EVALUATES = "modelservice.dev/evaluates"
EVALUATION = {
    "dataset": {"uri": "https://models.example/holdout.npz"},
    "metrics": [{"name": "f1", "min": "0.9", "maxRegression": "0.01"}],
}
OLD, NEW = {"uri": "file:///models/m"}, {"uri": "file:///models/m2"}


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logs]:
    with Logs(tmp_path_factory.mktemp("logs")).running() as logs:
        yield logs


@pytest.fixture(scope="module")
def kubelet(plane: ControlPlane, logs: Logs) -> Iterator[Kubelet]:
    """Its only node, which two devices fill."""
    kubelet = Kubelet(plane.kubeconfig, "n1", **{"nvidia.com/gpu": "2"})
    kubelet.log_port = logs.server_port
    with kubelet.running():
        yield kubelet


def scores(**metrics: str) -> str:
    """The last words of an evaluation."""
    return json.dumps({"digest": "sha256:" + "2" * 64, "rows": 360, "failed": 0, "metrics": metrics})


def with_evaluations(*messages: tuple[str, int]) -> Callable[[dict[str, str]], Object]:
    """Tell that models serve, and that evaluations end one after the other with these words."""
    left, told = list(messages), {}

    def state(labels: dict[str, str]) -> Object:
        if EVALUATES not in labels:
            return serving()
        job = labels["batch.kubernetes.io/controller-uid"]
        if job not in told:
            told[job] = ended(*(left.pop(0) if len(left) > 1 else left[0]))
        return told[job]

    return state


def rollout(services: Services) -> Object:
    return dict(services.get("modelservice")["status"].get("rollout") or {})


def history(services: Services) -> list[Object]:
    return list(services.get("modelservice")["status"].get("history") or ())


def names(services: Services, kind: str) -> set[str]:
    return {str(each["metadata"]["name"]) for each in services.all(kind)}


def serve_the_old_one(services: Services, **spec: object) -> str:
    services.apply(model=OLD, **spec)
    services.until("Ready", "True", "Ready")
    return str(services.revisions()[0]["name"])


def selected(services: Services) -> str:
    return str(services.get("service")["spec"]["selector"].get(REVISION, "both"))


def test_a_model_that_passes_its_evaluation_is_promoted_and_the_evaluation_leaves_nothing(
    services: Services, kubelet: Kubelet
) -> None:
    old = serve_the_old_one(services, replicas=2)
    assert "measured" not in services.get("modelservice")["status"]
    kubelet.state_of = with_evaluations((scores(f1="0.95", saturation_concurrency="12"), 0))
    services.apply(model=NEW, replicas=2, evaluation=EVALUATION)
    services.until("Ready", "True", "Ready")
    assert services.get("modelservice")["status"]["measured"] == {"saturationConcurrency": 12}
    new = services.revisions()[0]["name"]
    assert new != old
    assert selected(services) == new
    newest = history(services)[0]
    assert (newest["revision"], newest["decision"]) == (new, "Promoted")
    assert newest["measured"]["f1"] == "0.95"
    until(lambda: not services.all("jobs"), "the Job is gone")
    until(
        lambda: {each["metadata"]["name"] for each in services.all("services")} == {"m", "m-metrics"}, "and its Service"
    )


def test_a_model_that_fails_its_evaluation_never_gets_traffic_until_another_try_is_ordered(
    services: Services, kubelet: Kubelet
) -> None:
    old = serve_the_old_one(services, replicas=1)
    kubelet.state_of = with_evaluations((scores(f1="0.5"), 0), (scores(f1="0.97"), 0))
    services.apply(model=NEW, replicas=1, evaluation=EVALUATION)
    stalled = services.until("Stalled", "True", "GateFailed")
    assert "f1 is 0.5, and must be at least 0.9" in stalled["message"]
    assert services.condition("Available")["status"] == "True"
    assert selected(services) == old
    newest, gate = history(services)[0], rollout(services)["gates"][0]
    assert (newest["decision"], newest["reason"]) == ("Failed", "GateFailed")
    assert (gate["name"], gate["verdict"], gate["value"]) == ("f1", "Failed", "0.5")
    until(lambda: names(services, "deployments") == {old}, "its pods are gone")

    services.kubectl("annotate", "modelservice", "m", "modelservice.dev/retry=1")
    services.until("Ready", "True", "Ready")
    assert [each["decision"] for each in history(services)][:2] == ["Promoted", "Failed"]


def test_an_evaluation_that_comes_to_no_verdict_is_told_and_tried_again(services: Services, kubelet: Kubelet) -> None:
    old = serve_the_old_one(services, replicas=1)
    problem = json.dumps({"reason": "FetchFailed", "message": "https://models.example cannot be reached."})
    kubelet.state_of = with_evaluations((problem, 1), (scores(f1="0.95"), 0))
    services.apply(model=NEW, replicas=1, evaluation=EVALUATION)
    found = until(
        lambda: "cannot be reached" in services.condition("Ready").get("message", "") and services.condition("Ready"),
        "the problem is told",
    )
    assert found["reason"] == "Evaluating"
    assert selected(services) == old
    services.until("Ready", "True", "Ready")
    assert history(services)[0]["decision"] == "Promoted"


def test_an_evaluation_that_has_no_node_is_told_and_goes_on_once_it_asks_for_less(
    services: Services, kubelet: Kubelet
) -> None:
    old = serve_the_old_one(services, replicas=1)
    kubelet.state_of = with_evaluations((scores(f1="0.95"), 0))
    three = {"resources": {"limits": {"nvidia.com/gpu": "3"}}}
    services.apply(model=NEW, replicas=1, evaluation=EVALUATION | three)
    waiting = services.until("Ready", "False", "WaitingForCapacity")
    assert waiting["message"].startswith("Evaluation of revision m-")
    assert "Insufficient nvidia.com/gpu" in waiting["message"]
    assert services.condition("Scheduled")["status"] == "False"
    assert selected(services) == old
    services.apply(model=NEW, replicas=1, evaluation=EVALUATION)
    services.until("Ready", "True", "Ready")
    assert history(services)[0]["measured"]["f1"] == "0.95"


def test_a_first_model_is_evaluated_before_anybody_is_served(services: Services, kubelet: Kubelet) -> None:
    kubelet.state_of = with_evaluations((scores(f1="0.5"), 0))
    services.apply(model=NEW, replicas=1, evaluation=EVALUATION)
    services.until("Stalled", "True", "GateFailed")
    assert selected(services) == "none"
    assert services.condition("Available")["status"] == "False"


def test_a_model_that_does_not_come_up_in_time_is_given_up_and_the_end_of_its_log_is_kept(
    services: Services, kubelet: Kubelet, logs: Logs
) -> None:
    old = serve_the_old_one(services, replicas=1, startupTimeout="1s")
    ending = b"  0%\r  0% 100%\r\n\x1b[31mloading \xc3\xa4\x1b[0m\nKeyError: 'weights'\n"
    logs.asked, logs.written = [], "ä x\n".encode() * 1000 + ending
    crash = crashing("KeyError: 'weights'")
    crash["conditions"] += [{"type": "Initialized", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    kubelet.state_of = lambda labels: serving() if labels.get(REVISION) == old else crash
    services.apply(model=NEW, replicas=1, startupTimeout="1s")
    stalled = services.until("Stalled", "True", "NeverReady")
    assert "KeyError: 'weights'" in stalled["message"]
    assert selected(services) == old
    newest = history(services)[0]
    assert newest["log"].endswith("  0% 100%\nloading ä\nKeyError: 'weights'")
    assert 1900 < len(newest["log"].encode()) <= 2048
    [asked] = logs.asked
    assert "/server?" in asked
    assert "previous=true" in asked
    event = until(
        lambda: [each for each in services.all("events") if each["reason"] == "RevisionFailed"], "an Event tells of it"
    )[0]
    assert event["message"].endswith("loading ä\nKeyError: 'weights'")
    services.apply(model=OLD, replicas=1, startupTimeout="1s")
    services.until("Ready", "True", "Ready")
    assert history(services)[0] == newest, "what was decided stays when it is forgotten in the ledger"


def test_steps_stop_where_they_should_and_paused_goes_nowhere(services: Services) -> None:
    serve_the_old_one(services, replicas=3)
    steps = [{"weight": "25%", "pause": "1h"}, {"weight": "50%", "pause": "1h"}]
    services.apply(model=NEW, replicas=3, rollout={"steps": steps})
    until(lambda: rollout(services).get("phase") == "Analysing", "the first step is reached")
    assert {each["role"]: each["weight"] for each in services.revisions()} == {"Stable": "75%", "Candidate": "25%"}
    assert rollout(services)["step"] == 1
    steps[0]["pause"] = "0s"
    services.apply(model=NEW, replicas=3, rollout={"steps": steps})
    until(lambda: rollout(services).get("step") == 2, "the second step is reached")
    assert {each["role"]: each["weight"] for each in services.revisions()} == {"Stable": "50%", "Candidate": "50%"}
    new = rollout(services)["revision"]
    services.kubectl("annotate", "modelservice", "m", f"modelservice.dev/promote={new}")
    services.until("Ready", "True", "Ready")
    assert selected(services) == new


def test_people_step_in_with_the_plugin(services: Services, plane: ControlPlane) -> None:
    """What each command of `kubectl modelservice` comes to; what it says is the business of test_plugin.py."""
    paths = [str(binaries.path("kubectl").parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = os.environ | {"PATH": ":".join(paths), "KUBECONFIG": str(plane.kubeconfig)}

    def by_hand(command: str, status: int = 0) -> None:
        arguments = ["kubectl", "modelservice", command, "m", f"--namespace={services.namespace}"]
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == status, done

    old = serve_the_old_one(services, replicas=2)
    by_hand("pause")
    services.apply(model=NEW, replicas=2)
    services.until("Ready", "False", "Paused")
    by_hand("resume")
    by_hand("watch")
    new = selected(services)
    assert new != old
    by_hand("rollback")
    services.until("Stalled", "True", "RolledBack")
    until(lambda: selected(services) == old, "the one before serves")
    by_hand("watch", 3)
    by_hand("retry")
    services.until("Ready", "True", "Ready")
    assert selected(services) == new
    by_hand("restart")
    until(lambda: selected(services) not in {old, new, "both"}, "a revision of the same spec serves")
    services.until("Ready", "True", "Ready")
    services.apply(model=OLD, replicas=2, precision="Float32", rollout={"steps": [{"weight": "50%", "pause": "1h"}]})
    services.until("Ready", "False", "Analysing")
    by_hand("promote")
    services.until("Ready", "True", "Ready")


def test_blue_and_green_change_places_at_once_and_a_rollback_takes_one_step(services: Services) -> None:
    old = serve_the_old_one(services, replicas=2)
    blue_green = {"steps": [{"weight": "100%", "pause": "1h"}], "keepPrevious": "1h"}
    services.apply(model=NEW, replicas=2, rollout=blue_green)
    until(lambda: rollout(services).get("phase") == "Analysing", "all traffic is on the new one")
    new = rollout(services)["revision"]
    assert selected(services) == new
    assert sorted(each["spec"]["replicas"] for each in services.all("deployments")) == [2, 2]
    services.kubectl("annotate", "modelservice", "m", f"modelservice.dev/promote={new}")
    services.until("Ready", "True", "Ready")
    assert sorted(each["spec"]["replicas"] for each in services.all("deployments")) == [2, 2], "the old pods stay"
    services.kubectl("annotate", "modelservice", "m", f"modelservice.dev/rollback={new}")
    services.until("Stalled", "True", "RolledBack")
    until(lambda: selected(services) == old, "the old one serves again")
    until(lambda: "RolledBack" in [each["decision"] for each in history(services)], "the history tells of it")


# -- live requests: pages of metrics at the addresses of pods that do not exist

PAGE = """\
# TYPE model_server_requests_total counter
model_server_requests_total{{code="200"}} {good}
model_server_requests_total{{code="500"}} {bad}
"""


class Pages(http.server.ThreadingHTTPServer):
    """What the pods of one address tell."""

    daemon_threads = True

    def __init__(self, address: str) -> None:
        super().__init__((address, 9090), _Page)
        self.page = ""


class _Page(http.server.BaseHTTPRequestHandler):
    server: Pages

    def do_GET(self) -> None:
        body = self.server.page.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def pages(address: str) -> Iterator[Pages]:
    with Pages(address) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def told_at(address: str) -> Object:
    state = serving()
    return state | {"podIP": address, "podIPs": [{"ip": address}]}


def test_a_model_whose_answers_are_errors_loses_its_traffic_within_a_step(
    services: Services, kubelet: Kubelet, logs: Logs
) -> None:
    logs.asked, logs.written = [], None
    old = serve_the_old_one(services, replicas=1)
    with pages("127.0.0.71") as of_old, pages("127.0.0.72") as of_new:
        of_old.page = of_new.page = PAGE.format(good=0, bad=0)
        kubelet.state_of = lambda labels: told_at("127.0.0.71" if labels.get(REVISION) == old else "127.0.0.72")
        terms = {"steps": [{"weight": "50%", "pause": "1h"}], "analysis": {"minRequests": 50}}
        services.apply(model=NEW, replicas=1, rollout=terms)
        until(lambda: rollout(services).get("phase") == "Analysing", "the step is reached")
        of_old.page, of_new.page = PAGE.format(good=1000, bad=0), PAGE.format(good=900, bad=100)
        stalled = services.until("Stalled", "True", "ErrorRate")
    assert "10% of 1000 requests failed" in stalled["message"]
    assert selected(services) == old
    newest = history(services)[0]
    assert (newest["decision"], newest["measured"]["error_rate"]) == ("RolledBack", "0.1000")
    assert (len(logs.asked), "log" in newest) == (1, False), "no verdict waits for a log that is not to be had"
    until(lambda: names(services, "deployments") == {old}, "its pods are gone")


# -- room

GPU = {"resource": "nvidia.com/gpu"}


def test_a_full_cluster_rolls_over_when_an_old_pod_may_make_room(services: Services) -> None:
    old = serve_the_old_one(services, replicas=2, accelerator=GPU)
    services.apply(model=NEW, replicas=2, accelerator=GPU, rollout={"capacityPatience": "2s"})
    services.until("Ready", "True", "Ready")
    assert services.revisions()[0]["name"] != old


def test_the_only_pod_of_a_full_cluster_serves_on_and_the_wait_is_told(services: Services) -> None:
    two = GPU | {"count": 2}
    old = serve_the_old_one(services, replicas=1, accelerator=two)
    services.apply(model=NEW, replicas=1, accelerator=two, rollout={"capacityPatience": "1s"})
    waiting = services.until("Ready", "False", "WaitingForCapacity")
    assert "spec.rollout.capacity: Replace" in waiting["message"]
    assert (services.condition("Available")["status"], selected(services)) == ("True", old)
    services.apply(model=NEW, replicas=1, accelerator=two, rollout={"capacity": "Replace"})
    services.until("Ready", "True", "Ready")
    assert selected(services) != old
