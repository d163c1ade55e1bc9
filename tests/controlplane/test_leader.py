"""Several operators on a real API server: one works, the others are ready to; whatever ends one, another goes on."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cluster import ports
from cluster.access import Access
from controlplane.kubelet import DIGEST
from controlplane.operator_process import NAMESPACE, OperatorProcess
from controlplane.proxy import Proxy
from controlplane.services import Services
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cluster.controlplane import ControlPlane

    Kubectl = Callable[..., str]

FAILOVER_SECONDS = 15  # what is promised
LEASE = "modelservice-operator-default"
MODEL = {"uri": "file:///models/m", "digest": DIGEST}  # a pinned one, so that all its pods may start at once


class Pair(Services):
    """Two operators that compete for one lease, in the order in which they were started."""

    def __init__(self, kubectl: Kubectl, namespace: str, operators: list[OperatorProcess]) -> None:
        super().__init__(kubectl, namespace)
        self.operators = operators

    def leader(self) -> OperatorProcess:
        return next(each for each in self.operators if each.is_running and each.metric("leading") == 1)

    def standby(self) -> OperatorProcess:
        return next(each for each in self.operators if each.is_running and each.metric("leading") == 0)

    def create(self, name: str) -> None:
        body = {"apiVersion": "modelservice.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": name}}
        self.kubectl("create", "-f", "-", stdin=body | {"spec": {"model": MODEL, "replicas": 1}})
        until(lambda: self.children(name) == 4, f"{name} has its children")

    def children(self, name: str) -> int:
        found = self.kubectl(
            "get", "controllerrevisions,deployments,services", "-l", f"modelservice.dev/name={name}", "-o", "name"
        )
        return len(found.splitlines())

    def label(self, name: str) -> str:
        """Return the installation that the Service names as its keeper."""
        labels: dict[str, str] = self.get("service", name)["metadata"]["labels"]
        return labels["modelservice.dev/installation"]

    def replicas(self, name: str) -> int:
        found = self.kubectl("get", "deployments", "-l", f"modelservice.dev/name={name}", "-o", "json")
        return sum(each["spec"]["replicas"] for each in json.loads(found)["items"])

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get("modelservice", name)["status"]
        return found

    def stalled(self, name: str) -> dict[str, Any]:
        return next((each for each in self.status(name)["conditions"] if each["type"] == "Stalled"), {})

    def lease(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            self._kubectl("get", "lease", LEASE, f"--namespace={NAMESPACE}", "-o", "json")
        )
        return found["spec"]


@pytest.fixture
def processes(kubectl: Kubectl, namespace: str, tmp_path: Path) -> Iterator[Callable[..., OperatorProcess]]:
    """Give a function that starts an operator of this test's namespace, which ends with the test."""
    with ExitStack() as ends:

        def start(name: str, kubeconfig: Path, installation: str = "default") -> OperatorProcess:
            directory = tmp_path / name
            directory.mkdir()
            operator = OperatorProcess(
                kubectl, kubeconfig, directory, ports.free(1)[0], elects=True, installation=installation
            )
            operator.start(f"--namespace={namespace}")
            ends.callback(operator.stop)
            return operator

        yield start


@pytest.fixture
def pair(
    kubectl: Kubectl,
    control_plane: ControlPlane,
    namespace: str,
    processes: Callable[..., OperatorProcess],
) -> Pair:
    pair = Pair(kubectl, namespace, [processes(name, control_plane.kubeconfig) for name in "ab"])
    until(lambda: [each.metric("leading") for each in pair.operators] == [1, 0], "the first leads", patience=30)
    return pair


def test_a_standby_is_ready_and_writes_nothing_and_when_the_leader_is_killed_it_acts(pair: Pair) -> None:
    leader, standby = pair.leader(), pair.standby()
    pair.create("m")
    until(leader.is_idle, "the leader has looked at everything")
    assert standby.is_ready()
    assert standby.writes() == 0
    assert f'modelservice_replicas_wanted{{namespace="{pair.namespace}",name="m"}} 1' in leader.metrics()
    assert "modelservice_replicas_wanted{" not in standby.metrics()

    leader.kill()
    killed = time.monotonic()
    pair.kubectl("delete", "service", "m")
    until(lambda: pair.children("m") == 4, "the child is back", patience=FAILOVER_SECONDS)
    assert time.monotonic() - killed < FAILOVER_SECONDS
    assert standby.metric("leading") == 1
    until(standby.is_idle, "the new leader has looked at everything")
    assert f'modelservice_replicas_wanted{{namespace="{pair.namespace}",name="m"}} 1' in standby.metrics()
    assert pair.lease()["leaseTransitions"] >= 1


def test_a_leader_that_is_told_to_end_hands_over_at_once_and_loses_nothing(pair: Pair) -> None:
    leader, standby = pair.leader(), pair.standby()
    held = pair.lease()
    names = [f"m{number}" for number in range(8)]
    for name in names[:4]:
        pair.create(name)
    for name in names[4:]:
        body = {"apiVersion": "modelservice.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": name}}
        pair.kubectl("create", "-f", "-", stdin=body | {"spec": {"model": MODEL, "replicas": 1}})
    assert leader.stop() == 0
    until(lambda: standby.metric("leading") == 1, "the other leads", patience=held["leaseDurationSeconds"] / 2)
    for name in names:
        until(lambda name=name: pair.children(name) == 4, f"{name} has its children")  # type: ignore[misc]
    leader.start(f"--namespace={pair.namespace}")
    until(standby.is_idle, "all was looked at")
    assert leader.metric("leading") == 0
    assert leader.writes() == 0


async def test_a_leader_without_the_api_server_stops_writing_and_lives_on_as_a_standby(
    kubectl: Kubectl,
    control_plane: ControlPlane,
    namespace: str,
    processes: Callable[..., OperatorProcess],
    tmp_path: Path,
) -> None:
    async with Proxy(control_plane).running() as proxy:
        through = tmp_path / "through.kubeconfig"
        replace(Access.read(control_plane.kubeconfig), url=f"http://127.0.0.1:{proxy.port}").write(through)

        def begin() -> Pair:
            pair = Pair(kubectl, namespace, [processes("cut", through), processes("other", control_plane.kubeconfig)])
            until(lambda: pair.operators[0].metric("leading") == 1, "the first leads", patience=30)
            pair.create("m")
            return pair

        def lose(pair: Pair) -> int:
            cut, other = pair.operators
            pair.kubectl("delete", "service", "m")  # the leader sees that, and its write hangs
            until(lambda: pair.children("m") == 4, "the other has repaired it", patience=FAILOVER_SECONDS)
            until(lambda: cut.metric("leading") == 0, "the first knows that it does not lead")
            assert other.metric("leading") == 1
            return cut.writes()

        def recover(pair: Pair, sent: int) -> None:
            cut, other = pair.operators
            pair.create("later")
            until(
                lambda: "Waiting for the lease" in cut.log.read_text().partition("Lost the lease")[2], "it waits again"
            )
            until(other.is_idle, "all was looked at")
            assert cut.is_running
            assert cut.metric("leading") == 0
            assert cut.writes() == sent

        pair = await asyncio.to_thread(begin)
        proxy.hold_writes()
        sent = await asyncio.to_thread(lose, pair)
        proxy.let_writes_pass()
        await asyncio.to_thread(recover, pair, sent)


def test_two_installations_that_look_after_the_same_services_never_fight(
    kubectl: Kubectl, control_plane: ControlPlane, namespace: str, processes: Callable[..., OperatorProcess]
) -> None:
    both = [processes(name, control_plane.kubeconfig, name) for name in ("blue", "green")]
    for operator in both:
        until(lambda operator=operator: operator.metric("leading") == 1, "each leads its own installation")  # type: ignore[misc]
    pair = Pair(kubectl, namespace, both)
    models = [f"m{number}" for number in range(6)]
    for model in models:
        pair.create(model)

    def quiet() -> None:
        until(lambda: all(operator.is_idle() for operator in both), "both have looked at everything")

    def writes() -> int:
        return sum(operator.writes() for operator in both)

    def kept() -> dict[str, tuple[str, str]]:
        """Return the version of every child and who keeps it."""
        kinds = "controllerrevisions,deployments,services,poddisruptionbudgets,networkpolicies"
        found = pair.all(kinds)
        return {
            f"{each['kind']} {each['metadata']['name']}": (
                each["metadata"]["resourceVersion"],
                each["metadata"]["labels"]["modelservice.dev/installation"],
            )
            for each in found
        }

    quiet()
    until(lambda: len(kept()) == 6 * len(models), "every child is there")
    before, sent = kept(), writes()
    for look in range(5):
        for model in models:
            pair.kubectl("annotate", "--overwrite", "modelservice", model, f"look={look}")
        quiet()
    assert (kept(), writes()) == (before, sent)

    def is_told(replicas: int) -> bool:
        """Tell whether all are scaled and say so: each scaling is a generation."""
        statuses = [pair.status(model)["observedGeneration"] for model in models]
        return statuses == [pair.replicas(model) for model in models] == [replicas] * len(models)

    for replicas in (2, 3):
        sent = writes()
        for model in models:
            pair.kubectl("scale", "modelservice", model, f"--replicas={replicas}")
        until(lambda replicas=replicas: is_told(replicas), "all are scaled")  # type: ignore[misc]
        quiet()
        assert writes() - sent == 3 * len(models)  # a Deployment, a budget, a status
    assert {name: keeper for name, (_, keeper) in kept().items()} == {
        name: keeper for name, (_, keeper) in before.items()
    }


def test_what_another_installation_keeps_is_left_alone_until_that_one_is_gone(
    kubectl: Kubectl, control_plane: ControlPlane, namespace: str, processes: Callable[..., OperatorProcess]
) -> None:
    elsewhere = f"{namespace}-elsewhere"
    kubectl("create", "namespace", elsewhere)
    both = {name: processes(name, control_plane.kubeconfig, name) for name in ("blue", "green")}
    pair = Pair(kubectl, namespace, list(both.values()))
    for operator in pair.operators:
        until(lambda operator=operator: operator.metric("leading") == 1, "each leads its own installation")  # type: ignore[misc]

    # Both see it at the same moment; whoever writes the first line of its ledger keeps it.
    pair.create("m")
    until(lambda: all(operator.is_idle() for operator in both.values()), "both have looked at everything")
    keeper = pair.label("m")
    other = next(name for name in both if name != keeper)
    pair.kubectl("annotate", "modelservice", "m", "look=again")
    until(lambda: both[other].log.read_text().count("Left alone") == 1, "the other leaves it alone")
    assert pair.status("m")["observedGeneration"] == 1
    assert "Stalled" not in {each["type"] for each in pair.status("m")["conditions"]}
    written = both[other].writes()
    assert written <= 1, "at most one write that the server refused"

    # The keeper is alive, but looks elsewhere: then nobody would say anything.
    assert both[keeper].stop() == 0
    both[keeper].start(f"--namespace={elsewhere}")
    until(lambda: both[keeper].metric("leading") == 1, "the keeper leads")
    assert pair.label("m") == keeper
    pair.kubectl("scale", "modelservice", "m", "--replicas=2")
    stalled = until(lambda: pair.stalled("m"), "it is said why nothing happens")
    assert stalled["reason"] == "ManagedByOther"
    assert f"{NAMESPACE}/modelservice-operator-{keeper}" in stalled["message"]
    assert pair.replicas("m") == 1

    both[keeper].kill()
    until(lambda: pair.label("m") == other, "the other has taken over")
    until(lambda: pair.replicas("m") == 2, "and does what is asked for")
    until(lambda: not pair.stalled("m"), "and says so")
