"""Rollouts where devices are scarce and servers load slowly: real controllers and scheduler, nodes played by kwok.

Each story has a namespace and nodes of its own, and mostly waits: all of them are told side by side. What a rollout
promises is asked of every moment that a witness saw.
"""

from __future__ import annotations

import functools
import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cluster import kwok
from cluster.controlplane import ControlPlane
from controlplane.conftest import install_crd, kubectl_of, new_namespace
from controlplane.services import Services
from controlplane.witness import Witness, condition, is_true
from sizes import IS_FULL
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from controlplane.operator_process import OperatorProcess

    Object = dict[str, Any]
    Story = Callable[["Model"], None]

REVISION = "modelservice.dev/revision"
GPU = "nvidia.com/gpu"
QUOTA = "/spec/hard/requests.nvidia.com~1gpu"
OLD, NEW = "file:///models/old", "file:///models/new"
LOADS = "5s" if IS_FULL else "500ms"
STARTUP = timedelta(seconds=15)  # of which a server that is scheduled and loads at once needs next to nothing
PATIENCE_SECONDS = 300.0


class Model:
    """A ModelService in a namespace of its own, on nodes of its own."""

    def __init__(self, plane: ControlPlane, witness: Witness) -> None:
        kubectl = kubectl_of(plane)
        self.namespace = new_namespace(kubectl)
        self._services, self._witness = Services(kubectl, self.namespace), witness
        self._spec: Object = {}
        self._generation = 0
        until(lambda: self._services.all("serviceaccounts"), "the namespace is usable")

    def add_node(self, name: str = "first", gpus: int = 8) -> None:
        self.create(kwok.node(f"{self.namespace}-{name}", {GPU: str(gpus)}, {"pool": self.namespace}))

    def create(self, manifest: Object) -> None:
        self._services.kubectl("create", "-f", "-", stdin=manifest)

    def patch(self, kind: str, name: str, *operations: Object) -> None:
        self._services.kubectl("patch", kind, name, "--type=json", f"--patch={json.dumps(operations)}")

    def serve(self, replicas: int, gpus: int, *, loads: str = LOADS, **spec: object) -> None:
        """Have the old model served, and wait until it is."""
        times = {kwok.LOAD_TIME: loads, kwok.DRAIN_TIME: "500ms"}
        template = {"metadata": {"annotations": times}, "spec": {"nodeSelector": {"pool": self.namespace}}}
        accelerator = {"resource": GPU, "count": gpus}
        self.apply(OLD, replicas=replicas, accelerator=accelerator, podTemplate=template, **spec)
        self.until_ready()

    def apply(self, uri: str, **spec: object) -> int:
        """Change the spec, as its user does; return the version from which it holds."""
        self._spec |= {"model": {"uri": uri}} | spec
        metadata = self._services.apply(**self._spec)["metadata"]
        self._generation = metadata["generation"]
        return int(metadata["resourceVersion"])

    def gate(self) -> None:
        """Let the pods of the next spec wait for somebody who admits them."""
        self._spec["podTemplate"]["spec"]["schedulingGates"] = [{"name": "kueue.x-k8s.io/admission"}]

    # -- what is seen

    @property
    def seen(self) -> Object:
        return self._witness.latest("ModelService", self.namespace, "m")

    @property
    def pods(self) -> list[Object]:
        return self._witness.all("Pod", self.namespace)

    @property
    def stable(self) -> str:
        return str(self.seen["status"]["revisions"][0]["name"])

    def until(self, kind: str, status: str, reason: str, *words: str) -> str:
        """Wait for a condition of the latest spec; return its message."""

        def holds() -> str:
            found = condition(self.seen, kind) or {}
            assert found.get("observedGeneration") == self._generation, found
            assert (found["status"], found["reason"]) == (status, reason), found
            assert all(each in found["message"] for each in words), found
            return str(found["message"])

        return until(
            holds, f"{kind} is {status} {reason} {words}", patience=PATIENCE_SECONDS, details=lambda: self.seen
        )

    def until_ready(self) -> None:
        self.until("Ready", "True", "Ready")

    def until_waiting(self, *words: str) -> str:
        return self.until("Ready", "False", "WaitingForCapacity", *words)

    def until_newcomers_serve(self, count: int) -> None:
        """Wait until so many pods are ready of others than the stable revision."""

        def holds() -> bool:
            return sum(is_true(pod, "Ready") for pod in self.pods if revision(pod) != self.stable) >= count

        until(holds, f"{count} new pods are ready", patience=PATIENCE_SECONDS, details=lambda: self.seen)

    def until_placed(self, pod: str) -> None:
        def holds() -> bool:
            return is_true(self._witness.latest("Pod", self.namespace, pod), "PodScheduled")

        until(holds, f"{pod} has a node", patience=PATIENCE_SECONDS)

    def admit_until_ready(self) -> None:
        """Admit the pods that wait for it, as Kueue does, until the rollout is over."""

        def holds() -> bool:
            for pod in self.pods:
                if pod["spec"].get("schedulingGates"):
                    self.patch("pod", pod["metadata"]["name"], {"op": "remove", "path": "/spec/schedulingGates"})
            return is_true(self.seen, "Ready") and self.seen["status"]["observedGeneration"] == self._generation

        until(holds, "all are admitted, and it is ready", patience=PATIENCE_SECONDS, details=lambda: self.seen)

    def outwait(self, limit: timedelta) -> None:
        """Let more time go by than a limit that must not count."""
        end = time.monotonic() + limit.total_seconds() + 1
        until(lambda: time.monotonic() > end, "the limit is over", patience=PATIENCE_SECONDS)

    def kept(self, since: int, *, least: int, most: int) -> None:
        """Want so many pods serving, and no more asked for, at every moment since a version."""
        told = [(each.serving, each.asked) for each in self._witness.moments_since(since, self._services)]
        assert min(serving for serving, _ in told) >= least, told
        assert max(asked for _, asked in told) <= most, told

    def never_failed(self) -> None:
        """Want no verdict against any revision, ever."""
        for change in self._witness.changes(self.namespace, "ModelService"):
            status = change.body.get("status") or {}
            assert not is_true(change.body, "Stalled"), status
            assert {each["decision"] for each in status.get("history") or ()} <= {"Promoted"}, status

    def made_room_after(self, patience: timedelta, since: int) -> None:
        """Want the first pod that went for another to have gone when the other had been without a node for so long."""
        pods = [each for each in self._witness.changes(self.namespace, "Pod") if each.version > since]
        unplaced = [
            datetime.fromisoformat(found["lastTransitionTime"])
            for change in pods
            if (found := condition(change.body, "PodScheduled")) is not None and found["status"] == "False"
        ]
        given_up = [
            datetime.fromisoformat(about["deletionTimestamp"]) - timedelta(seconds=about["deletionGracePeriodSeconds"])
            for change in pods
            if "deletionTimestamp" in (about := change.body["metadata"])
        ]
        assert min(given_up) - min(unplaced) >= patience


def revision(pod: Object) -> str:
    return str(pod["metadata"]["labels"].get(REVISION))


# -- the stories


def a_full_cluster_rolls_over(model: Model, *, replicas: int, capacity: str) -> None:
    model.add_node()
    model.serve(replicas, gpus=8 // replicas)
    old = model.stable
    begun = model.apply(NEW, rollout={"capacity": capacity, "capacityPatience": "3s"})
    model.until_ready()
    assert model.stable != old
    model.kept(begun, least=replicas - 1, most=replicas + 1)
    model.never_failed()
    if capacity == "Auto":
        model.made_room_after(timedelta(seconds=3), begun)


def the_only_pod_of_a_full_cluster_stays_until_it_may_go(model: Model) -> None:
    model.add_node()
    model.serve(1, gpus=8)
    old = model.stable
    begun = model.apply(NEW, rollout={"capacityPatience": "1s"})
    model.until_waiting("1 Insufficient nvidia.com/gpu", "spec.rollout.capacity: Replace lets it")
    model.outwait(timedelta(seconds=3))
    model.until_waiting("1 Insufficient nvidia.com/gpu", "spec.rollout.capacity: Replace lets it")
    model.kept(begun, least=1, most=2)
    assert model.stable == old
    begun = model.apply(NEW, rollout={"capacity": "Replace"})
    model.until_ready()
    assert model.stable != old
    model.kept(begun, least=0, most=2)
    model.never_failed()


def one_free_gpu_lets_it_surge(model: Model) -> None:
    model.add_node()
    model.serve(7, gpus=1)
    begun = model.apply(NEW)
    model.until_ready()
    model.kept(begun, least=7, most=8)
    model.never_failed()


def a_revert_in_mid_roll_brings_the_old_state_back(model: Model) -> None:
    model.add_node()
    model.serve(8, gpus=1)
    old = model.stable
    begun = model.apply(NEW, rollout={"capacityPatience": "1s"})
    model.until_newcomers_serve(3)
    model.apply(OLD)
    model.until_ready()
    assert model.stable == old
    assert {revision(pod) for pod in model.pods} == {old}
    model.kept(begun, least=7, most=9)
    model.never_failed()


def a_revert_finds_its_room_taken_by_others(model: Model) -> None:
    model.add_node()
    model.serve(7, gpus=1)
    old = model.stable
    begun = model.apply(NEW, rollout={"capacityPatience": "5s"})
    model.until_newcomers_serve(1)
    model.create(stranger(model.namespace))
    model.until_placed("stranger")
    model.apply(OLD)
    model.until_ready()
    assert model.stable == old
    # With the stranger, and a pod that its controller may still start after it was asked to leave it.
    model.kept(begun, least=6, most=10)
    model.never_failed()


def a_quota_is_waited_out(model: Model) -> None:
    model.add_node()
    model.create(quota(4))
    model.serve(4, gpus=1, loads="0s", startupTimeout="15s")
    begun = model.apply(NEW, rollout={"capacity": "Surge"})
    model.until_waiting("exceeded quota", GPU)
    model.outwait(STARTUP)
    model.until_waiting("exceeded quota", GPU)
    model.kept(begun, least=4, most=4)
    model.patch("resourcequota", "devices", {"op": "replace", "path": QUOTA, "value": "5"})
    model.until_ready()
    model.kept(begun, least=4, most=5)
    model.never_failed()


def a_full_quota_rolls_over(model: Model) -> None:
    model.add_node()
    model.create(quota(4))
    model.serve(4, gpus=1)
    begun = model.apply(NEW, rollout={"capacityPatience": "2s"})
    model.until_ready()
    model.kept(begun, least=3, most=4)
    model.never_failed()


def pods_that_are_not_admitted_are_waited_for(model: Model) -> None:
    model.add_node()
    model.serve(2, gpus=1, loads="0s", startupTimeout="15s")
    model.gate()
    begun = model.apply(NEW)
    model.until_waiting("scheduling gates")
    model.outwait(STARTUP)
    model.until_waiting("scheduling gates")
    model.kept(begun, least=2, most=3)
    model.admit_until_ready()
    model.kept(begun, least=2, most=3)
    model.never_failed()


def a_node_that_comes_late_is_waited_for(model: Model) -> None:
    model.add_node()
    model.serve(8, gpus=1, loads="0s", startupTimeout="15s")
    begun = model.apply(NEW)
    model.until_waiting("1 Insufficient nvidia.com/gpu")
    model.outwait(STARTUP)
    model.until_waiting("1 Insufficient nvidia.com/gpu")
    model.kept(begun, least=8, most=9)
    model.add_node("late", gpus=1)
    model.until_ready()
    model.kept(begun, least=8, most=9)
    model.never_failed()


def quota(gpus: int) -> Object:
    hard = {"requests.nvidia.com/gpu": str(gpus)}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "devices"}, "spec": {"hard": hard}}


def stranger(pool: str) -> Object:
    container = {"name": "trains", "image": "x", "resources": {"limits": {GPU: "1"}}}
    spec = {"nodeSelector": {"pool": pool}, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stranger"}, "spec": spec}


def full(replicas: int, capacity: str) -> Story:
    return functools.partial(a_full_cluster_rolls_over, replicas=replicas, capacity=capacity)


STORIES: dict[str, Story] = {
    **{
        f"a full cluster of {replicas} rolls over with {capacity}": full(replicas, capacity)
        for replicas in ((2, 4, 8) if IS_FULL else (2, 8))
        for capacity in ("Auto", "Replace")
    },
    **{
        each.__name__.replace("_", " "): each
        for each in (
            the_only_pod_of_a_full_cluster_stays_until_it_may_go,
            one_free_gpu_lets_it_surge,
            a_revert_in_mid_roll_brings_the_old_state_back,
            a_revert_finds_its_room_taken_by_others,
            a_quota_is_waited_out,
            a_full_quota_rolls_over,
            pods_that_are_not_admitted_are_waited_for,
            a_node_that_comes_late_is_waited_for,
        )
    },
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane whose nodes are played by kwok."""
    with ControlPlane(tmp_path_factory.mktemp("plane") / "cluster", kwok=True) as plane:
        install_crd(plane)
        yield plane


@pytest.fixture(scope="module")
def begun(
    request: pytest.FixtureRequest, plane: ControlPlane, operator: OperatorProcess
) -> Iterator[dict[str, Future[None]]]:
    """All stories that were asked for, begun together."""
    del operator
    asked = [item.callspec.params["story"] for item in request.session.items if item.path == request.path]
    with Witness(plane.kubeconfig).watching() as witness, ThreadPoolExecutor(len(asked)) as pool:
        yield {name: pool.submit(lambda tell: tell(Model(plane, witness)), STORIES[name]) for name in asked}


@pytest.mark.parametrize("story", STORIES)
def test_on_nodes_with_eight_gpus(story: str, begun: dict[str, Future[None]]) -> None:
    begun[story].result()
