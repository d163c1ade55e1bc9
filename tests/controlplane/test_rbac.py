"""RBAC is exact: the operator uses each right that the chart gives it, fails without any one, and doctor says which.

What was used and refused is read from the API server's audit log.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import yaml

from cluster import ports
from cluster.controlplane import ControlPlane
from cluster.definitions import definition
from controlplane.conftest import install_crd, kubectl_of, until_served
from controlplane.kubelet import Kubelet, State, crashing, serving
from controlplane.operator_process import ACCOUNT, NAMESPACE, OperatorProcess
from controlplane.services import Services
from modelservice_operator import doctor, names, rbac
from modelservice_operator.api import parse
from modelservice_operator.cli import KINDS
from modelservice_operator.kube.resources import COLLECTORS
from modelservice_operator.kube.session import Cluster
from modelservice_operator.rollout import revision
from sizes import IS_FULL
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    Kubectl = Callable[..., str]
    Body = dict[str, Any]
    T = TypeVar("T")

USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
OURS = "app.kubernetes.io/part-of=modelservice"
INSTALLATION = doctor.Installation("default", NAMESPACE)
RIGHTS = [right for rule in rbac.rules("default") for right in rule.rights()]
# Asked for by an admission plugin of the API server, not by a request of the operator: no audit log tells of them.
OWNING = "update modelservices.modelservice.dev/finalizers"
UNSEEN = {OWNING, "delete poddisruptionbudgets.policy"}
TAKEN_AWAY = RIGHTS if IS_FULL else [right for right in RIGHTS if str(right) in {OWNING, "delete services"}]


ENGINES = {"HorizontalPodAutoscaler": "HPA", "ScaledObject": "KEDA"}

WATCHED = {
    "slo": {"objectives": [{"name": "availability", "target": "99.9%"}]},
    "monitoring": {"alerting": {"receiver": {"webhook": {"urlSecretRef": {"name": "s", "key": "url"}}}}},
}

SCALED = {kind: {"engine": engine, "maxReplicas": 2, "inflightPerReplica": 1} for kind, engine in ENGINES.items()}

EVALUATED = {
    "replicas": 1,
    "evaluation": {
        "dataset": {"uri": "s3://models/x.npz"},
        "metrics": [{"name": "f1", "min": "0.9"}],
        "resources": {"limits": {"example.com/none": "1"}},
    },
}
# Refuses the pods of these evaluations, and no others.
QUOTA: Body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
QUOTA |= {"spec": {"hard": {"requests.example.com/none": "0"}}}

# Objects of others, which have the names of a service's children: by the name of the service.
PIN: Body = {"apiVersion": "v1", "kind": "ConfigMap"}
POD = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "example/c"}]}}
TAKEN: dict[str, Body] = {
    "taken-ledger": {"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1, "data": {}},
    "taken-pin": PIN,
    "taken-deployment": {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": POD},
    },
    "taken-service": {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 8080}]}},
    "taken-budget": {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": {}},
    "taken-policy": {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "spec": {"podSelector": {"matchLabels": {"a": "b"}}},
    },
    "taken-job": {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {"template": POD | {"spec": POD["spec"] | {"restartPolicy": "Never"}}},
    },
    "taken-monitor": {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "spec": {"endpoints": [], "selector": {}},
    },
    "taken-routes": {"apiVersion": "monitoring.coreos.com/v1alpha1", "kind": "AlertmanagerConfig", "spec": {}},
    "taken-autoscaler": {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "spec": {"maxReplicas": 1, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}},
    },
    "taken-scaled-object": {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "spec": {"scaleTargetRef": {"name": "x"}, "triggers": [{"type": "cpu", "metadata": {}}]},
    },
    "taken-rule": {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "spec": {"groups": []}},
}


class RefusedError(Exception):
    """The API server has refused something to the operator."""


@dataclass
class World:
    """A cluster whose API server writes down what the operator asks for."""

    kubectl: Kubectl
    operator: OperatorProcess
    kubelet: Kubelet
    kubeconfig: Path
    """The administrator's."""
    audit: Path
    heard: int = 0

    def begin(self) -> None:
        """Forget what was written down so far."""
        self.heard = self.audit.stat().st_size

    def requests(self) -> list[Body]:
        """Return what the operator has asked for since, without what it asked about the API itself."""
        with self.audit.open() as log:
            log.seek(self.heard)
            found = [json.loads(line) for line in log.read().splitlines() if line.endswith("}")]
        return [each for each in found if "objectRef" in each]

    def used(self) -> set[str]:
        """Return the rights that were needed for what was granted."""
        return {right for each in self.requests() if each["responseStatus"]["code"] != 403 for right in needed(each)}

    def refused(self) -> set[str]:
        return {right for each in self.requests() if each["responseStatus"]["code"] == 403 for right in needed(each)}

    def until(self, look: Callable[[], T], what: str) -> T:
        """Wait, but not any longer once anything is refused."""

        def looked() -> T:
            if refused := self.refused():
                raise RefusedError(*refused)
            return look()

        return until(looked, what, details=self.operator.log.read_text)


def needed(request: Body) -> set[str]:
    """Return the rights that a request needs, named as the table names them. An apply that creates needs two."""
    target = request["objectRef"]
    kind = f"{target['resource']}.{target['apiGroup']}" if "apiGroup" in target else target["resource"]
    is_named = request["verb"] == "update" and target["resource"] == "leases"
    parts = (kind, target.get("subresource"), target["name"] if is_named else None)
    verbs = {request["verb"]} | ({"create"} if request["responseStatus"]["code"] == 201 else set())
    return {f"{verb} {'/'.join(filter(None, parts))}" for verb in verbs}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("rbac")
    policy, audit = directory / "policy.yaml", directory / "audit.log"
    audit.touch()
    rules = [{"level": "Metadata", "users": [USER]}, {"level": "None"}]
    policy.write_text(
        yaml.safe_dump(
            {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules}
        )
    )
    flags = (f"--audit-policy-file={policy}", f"--audit-log-path={audit}")
    with ControlPlane(directory / "cluster", controllers=True, api_flags=flags) as plane:
        install_crd(plane)
        kubectl = kubectl_of(plane)
        kinds = (*KINDS.optional, *COLLECTORS)
        files = [f"--filename={definition(resource.plural, resource.group)}" for resource in kinds]
        kubectl("apply", "--server-side", *files)
        until_served(kubectl)
        operator = OperatorProcess(kubectl, plane.kubeconfig, directory, ports.free(1)[0], elects=True)
        operator.set(prometheus={"url": "http://127.0.0.1:9"})  # whom KEDA would ask
        with Kubelet(plane.kubeconfig, "n1").running() as kubelet:
            yield World(kubectl, operator, kubelet, plane.kubeconfig, audit)


@pytest.fixture
def services(world: World, request: pytest.FixtureRequest) -> Iterator[Services]:
    """A namespace of the test's own, and an operator that is the first one to come."""
    namespace = f"test-{abs(hash(request.node.name)) % 10**8}"
    world.kubectl("create", "namespace", namespace)
    world.kubectl("delete", "lease", "--all", f"--namespace={NAMESPACE}")
    services = Services(world.kubectl, namespace)
    until(lambda: services.all("serviceaccounts"), "the namespace is usable")
    yield services
    world.operator.stop()
    services.kubectl("delete", "modelservices", "--all")


def live(world: World, services: Services) -> None:
    """Do all that the operator must react to. Ends early with RefusedError."""
    take_names(services)
    world.begin()
    world.operator.launch()
    world.until(lambda: world.operator.is_running and is_led(world), "the operator leads")

    ready = lambda name="m": services.condition("Ready", name).get("reason")  # noqa: E731
    services.apply(**WATCHED)
    world.until(lambda: ready() == "Ready", "m serves")
    services.kubectl("scale", "modelservice", "m", "--replicas=0")
    world.until(lambda: ready() == "ScaledToZero", "m is scaled to zero")
    services.kubectl("scale", "modelservice", "m", "--replicas=1")
    world.until(lambda: ready() == "Ready", "m serves again, as it did before")
    world.until(lambda: "patch events.events.k8s.io" in world.used(), "this is told as what happened before")

    for kind, scaling in SCALED.items():
        services.apply(**WATCHED, autoscaling=scaling)
        world.until(lambda kind=kind: "m" in names_of(services, kind), f"m has a {kind}")  # type: ignore[misc]

    services.kubectl("create", "-f", "-", stdin=QUOTA)
    services.apply("evaluated", **EVALUATED)
    refusal = lambda: services.condition("Ready", "evaluated").get("message", "")  # noqa: E731
    world.until(lambda: "exceeded quota: none" in refusal(), "a candidate is not evaluated, and it is told why")
    services.apply("evaluated", replicas=1)
    world.until(lambda: ready("evaluated") == "Ready", "it serves without an evaluation")
    world.until(lambda: f"{hash_of('evaluated')}-eval" not in names_of(services, "jobs"), "the evaluation is gone")

    serves, world.kubelet.state_of = world.kubelet.state_of, crashes_unless(services.revisions("evaluated")[0]["name"])
    services.apply("evaluated", replicas=1, startupTimeout="1s")
    world.until(lambda: ready("evaluated") == "NeverReady", "a revision that crashes is given up")
    world.kubelet.state_of = serves

    first = services.revisions()[0]["name"]
    leave_a_long_history(services)
    world.until(lambda: "m-100" not in names_of(services, "controllerrevisions"), "the oldest of too many is gone")
    world.until(lambda: "m-lost" not in names_of(services, "configmaps"), "the pin of no revision is gone")
    is_open = {"networkPolicy": {"enabled": False}}
    services.apply(replicas=0, runtime={"name": "Custom", "image": "example/server:1"}, security=is_open)
    world.until(lambda: ready() == "ScaledToZero" and services.revisions()[0]["name"] != first, "m is another one")
    world.until(lambda: first not in json.dumps(services.all("deployments")), "the old Deployment is gone")
    unwanted = "servicemonitors,prometheusrules,alertmanagerconfigs,networkpolicies,scaledobjects"
    world.until(
        lambda: {"m", "m-metrics", "m-slo", "m-alerts"}.isdisjoint(names_of(services, unwanted)),
        "what is not wanted is gone",
    )

    for kind in ("service", "poddisruptionbudget"):
        owners = lambda kind=kind: services.get(kind, "handed-over")["metadata"].get("ownerReferences")  # noqa: E731
        world.until(owners, f"the {kind} that was handed over is ours")
    for name in TAKEN:
        reason = lambda name=name: services.condition("Stalled", name).get("reason")  # noqa: E731
        world.until(lambda reason=reason: reason() == "NameConflict", f"{name} meets a name that is taken")  # type: ignore[misc]


def crashes_unless(revision: str) -> Callable[[dict[str, str]], State]:
    """Have all servers crash but those of a revision, and of other services."""
    crash = crashing("KeyError")
    crash["conditions"] += [{"type": "Initialized", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]

    def state(labels: dict[str, str]) -> State:
        is_other = labels.get(names.NAME) == "evaluated" and labels.get(names.REVISION) != revision
        return crash if is_other else serving()

    return state


def take_names(services: Services) -> None:
    """Let somebody else have the name of one child of each of these services."""
    for name, taken in TAKEN.items():
        wanted = {"replicas": 1 if taken is PIN else 0, **WATCHED} | (EVALUATED if taken["kind"] == "Job" else {})
        if taken["kind"] in SCALED:
            wanted = {"autoscaling": SCALED[taken["kind"]]}
        hashed = hash_of(name, **wanted)
        named = dict.fromkeys(("Service", "PodDisruptionBudget", "NetworkPolicy", *SCALED), name)
        child = named | {"ServiceMonitor": names.metrics_service(name), "PrometheusRule": names.rules(name)}
        child |= {"AlertmanagerConfig": names.routes(name), "Job": names.evaluation(hashed)}
        services.kubectl("create", "-f", "-", stdin=taken | {"metadata": {"name": child.get(taken["kind"], hashed)}})
        services.apply(name, **wanted)
    for kind in ("taken-service", "taken-budget"):
        metadata = {"name": "handed-over", "annotations": {names.ADOPT: "handed-over"}}
        services.kubectl("create", "-f", "-", stdin=TAKEN[kind] | {"metadata": metadata})
    services.apply("handed-over", replicas=0)


def hash_of(name: str, **spec: object) -> str:
    """Return the name of the revision that a service gets."""
    body = {"metadata": {"name": name}, "spec": {"model": {"uri": "file:///models/m"}} | spec}
    return revision.revision_name(name, revision.shape(parse(body), ""))


def leave_a_long_history(services: Services) -> None:
    """Add ten lines to the ledger, and a pin that no line has."""
    owner = services.get("modelservice")
    metadata = {
        "labels": {names.NAME: "m"},
        "ownerReferences": [
            {
                **{field: owner[field] for field in ("apiVersion", "kind")},
                **{field: owner["metadata"][field] for field in ("name", "uid")},
                "controller": True,
            }
        ],
    }
    lines: list[Body] = [
        {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata | {"name": f"m-{number}"}}
        | {"revision": number, "data": {"template": {"spec": {}}}}
        for number in range(100, 110)
    ]
    pin = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata | {"name": "m-lost"}, "data": {}}
    services.kubectl("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": [*lines, pin]})


def names_of(services: Services, kind: str) -> set[str]:
    return {each["metadata"]["name"] for each in services.all(kind)}


def is_led(world: World) -> bool:
    found = world.kubectl("get", "lease", "--ignore-not-found", "-o", "name", names.lease("default"), "-n", NAMESPACE)
    return bool(found)


# -- the tests


def test_the_operator_uses_every_right_that_it_has(world: World, services: Services) -> None:
    live(world, services)
    assert world.used() == {str(right) for right in RIGHTS} - UNSEEN


@pytest.mark.parametrize("right", TAKEN_AWAY, ids=str)
def test_without_any_one_of_them_it_is_refused_something(world: World, services: Services, right: rbac.Right) -> None:
    with missing(world.kubectl, right):
        until(lambda: not is_allowed(world.kubectl, right), f"the operator may not {right}")
        with pytest.raises(RefusedError) as refused:
            live(world, services)
    until(lambda: is_allowed(world.kubectl, right), f"the operator may {right}")
    plural = "controllerrevisions" if str(right) == OWNING else right.resource.plural
    assert any(plural in each for each in refused.value.args)


@pytest.fixture
async def cluster(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """The port to the API server, with the operator's account."""
    monkeypatch.setenv("KUBECONFIG", str(world.operator.kubeconfig))
    cluster = await Cluster.connect()
    yield cluster
    await cluster.close()


async def test_doctor_names_the_rule_of_each_right_that_is_missing(world: World, cluster: Cluster) -> None:
    one_of_each_rule = {right.rule.why: right for right in RIGHTS}.values()
    for right in RIGHTS if IS_FULL else one_of_each_rule:
        with missing(world.kubectl, right):
            told = await says(cluster, f"This account may not {right}")
        assert right.rule.why in told
    await says(cluster, f"This account has all {len(RIGHTS)} rights that the operator needs.")


async def says(cluster: Cluster, words: str) -> str:
    """Ask doctor for the rights until that is all it says: a changed role takes a moment to be in force."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = await doctor.check_rights(cluster, INSTALLATION)
            if [each.message.startswith(words) for each in found] == [True]:
                return found[0].message


def test_doctor_says_what_ails_an_installation(world: World, services: Services) -> None:
    world.operator.start()
    services.apply("fine", replicas=0)
    services.until("Ready", "True", name="fine")
    status, text = world.operator.ask_doctor()
    assert (status, "WRONG" in text) == (0, False), text
    assert "has all" in text
    assert "who renews it" in text
    assert "1 of 1 ModelServices are ready" in text

    services.apply("ill", accelerator={"class": "none-such"})
    stalled = services.until("Stalled", "True", name="ill")
    watch_pods = next(right for right in RIGHTS if str(right) == "watch pods")
    with missing(world.kubectl, watch_pods):
        until(lambda: not is_allowed(world.kubectl, watch_pods), "the operator may not watch pods")
        status, text = world.operator.ask_doctor(f"--as={USER}", kubeconfig=world.kubeconfig)
    assert status == 1
    assert f"  WRONG  {USER} may not watch pods. The rule of the chart" in text
    assert f"  WRONG  {services.namespace}/ill: UnknownAcceleratorClass: {stalled['message']} What to do: " in text

    world.operator.kill()
    soon = '--patch={"spec": {"leaseDurationSeconds": 2}}'  # how long doctor looks whether it is renewed
    world.kubectl("patch", "lease", names.lease("default"), f"--namespace={NAMESPACE}", "--type=merge", soon)
    status, text = world.operator.ask_doctor("--output=json")
    wrong = {each["about"]: each["message"] for each in json.loads(text) if each["verdict"] == "WRONG"}
    assert (status, wrong.keys()) == (1, {"lease", "watches", "models"})
    assert "is not renewed any more by" in wrong["lease"]
    assert "does not answer" in wrong["watches"]


@contextmanager
def missing(kubectl: Kubectl, right: rbac.Right) -> Iterator[None]:
    """Take one right out of the chart's roles."""
    found = kubectl("get", "clusterroles,roles", f"--namespace={NAMESPACE}", f"--selector={OURS}", "-o", "json")
    for role in json.loads(found)["items"]:
        rest = [*without(role["rules"], right)]
        if rest == role["rules"]:
            continue
        del role["metadata"]["resourceVersion"]
        kubectl("replace", "-f", "-", stdin=role | {"rules": rest})
        try:
            yield
        finally:
            kubectl("replace", "-f", "-", stdin=role)
        return
    raise AssertionError(f"no role of the chart grants: {right}")


def without(rules: list[Body], right: rbac.Right) -> Iterator[Body]:
    for rule in rules:
        is_about_it = right.resource.group in rule["apiGroups"] and right.plural in rule["resources"]
        if not is_about_it or right.verb not in rule["verbs"]:
            yield rule
            continue
        others = [kind for kind in rule["resources"] if kind != right.plural]
        verbs = [verb for verb in rule["verbs"] if verb != right.verb]
        if verbs:
            yield rule | {"verbs": verbs}
        if others:
            yield rule | {"resources": others, "verbs": [right.verb]}


def is_allowed(kubectl: Kubectl, right: rbac.Right) -> bool:
    namespace = NAMESPACE if right.rule.where is rbac.Where.OWN else ""
    answer = kubectl("create", "-f", "-", "-o", "json", stdin=doctor.review(right, namespace, USER))
    return bool(json.loads(answer)["status"]["allowed"])
