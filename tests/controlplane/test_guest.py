"""The operator as a guest: what its children do to those who empty nodes, edit, rewrite and forbid in a cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from controlplane.conftest import kubectl_of
from controlplane.kubelet import Kubelet, crashing, serving
from controlplane.webhook import MIRROR, mirrored
from waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.controlplane import ControlPlane
    from controlplane.operator_process import OperatorProcess
    from controlplane.services import Services

    Object = dict[str, Any]


# -- those who empty nodes


def evict(services: Services, pod: str) -> str:
    """Ask for the pod to go, as `kubectl drain` does; return what the API server says if it does not let it."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": services.namespace}}
    path = f"/api/v1/namespaces/{services.namespace}/pods/{pod}/eviction"
    try:
        services.kubectl("create", f"--raw={path}", "--filename=-", stdin=body)
    except AssertionError as refused:
        return str(refused)
    return ""


def pods(services: Services) -> dict[str, str]:
    """Return the revision of every pod that is not on its way out."""
    staying = [each["metadata"] for each in services.all("pods") if "deletionTimestamp" not in each["metadata"]]
    return {metadata["name"]: metadata["labels"]["modelservice.dev/revision"] for metadata in staying}


def become(services: Services, pod: str, state: Object) -> None:
    """Say as the kubelet of this one pod what became of it."""
    services.kubectl("patch", "pod", pod, "--subresource=status", f"--patch={json.dumps({'status': state})}")


def until_allowed(services: Services, evictions: int) -> None:
    """Wait until the budget has counted what there is and would let so many pods go."""

    def counted() -> bool:
        budget = services.get("poddisruptionbudget")
        assert budget["status"]["disruptionsAllowed"] == evictions, budget["status"]
        return bool(budget["status"]["observedGeneration"] == budget["metadata"]["generation"])

    until(counted, f"{evictions} pods may go")


def test_of_the_pods_that_serve_one_at_a_time_may_go(services: Services, kubelet: Kubelet) -> None:
    services.apply(replicas=3)
    services.until("Ready", "True")
    until_allowed(services, 1)
    kubelet.state_of = lambda _: None
    known = pods(services)
    first, second, _ = known
    assert evict(services, first) == ""
    until_allowed(services, 0)
    assert "violate the pod's disruption budget" in evict(services, second)
    until(lambda: len(pods(services)) == 3, "its successor is there")
    (successor,) = pods(services).keys() - known.keys()
    become(services, successor, crashing("no such file"))
    assert evict(services, successor) == "", "a pod that does not serve holds up nobody"
    kubelet.state_of = lambda _: serving()
    until_allowed(services, 1)
    assert evict(services, second) == ""


def test_the_only_pod_may_go(services: Services) -> None:
    services.apply()
    services.until("Ready", "True")
    until_allowed(services, 1)
    (only,) = pods(services)
    assert evict(services, only) == ""


def test_a_roll_that_is_stuck_holds_up_nobody(services: Services, kubelet: Kubelet) -> None:
    services.apply(replicas=2)
    services.until("Ready", "True")
    stable = services.revisions()[0]["name"]
    kubelet.state_of = lambda labels: None if "new" in labels else serving()
    services.apply(replicas=2, podTemplate={"metadata": {"labels": {"new": "yes"}}})
    until(lambda: len(pods(services)) == 3, "a new pod is there")
    (new,) = [pod for pod, revision in pods(services).items() if revision != stable]
    become(services, new, serving())
    until(lambda: list(pods(services).values()).count(stable) == 1, "an old pod has gone")
    until(lambda: len(pods(services)) == 3, "the next one is there, which never comes up")
    until_allowed(services, 1)
    (old,) = [pod for pod, revision in pods(services).items() if revision == stable]
    assert evict(services, old) == ""
    kubelet.state_of = lambda _: serving()
    services.until("Ready", "True")


def test_a_stray_pod_with_the_labels_does_not_spoil_the_count(services: Services) -> None:
    services.apply(replicas=2)
    services.until("Ready", "True")
    labels = {"modelservice.dev/name": "m", "modelservice.dev/revision": services.revisions()[0]["name"]}
    stray = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stray", "labels": labels}}
    services.kubectl("create", "-f", "-", stdin=stray | {"spec": {"containers": [{"name": "c", "image": "x"}]}})
    until(lambda: services.get("poddisruptionbudget")["status"]["expectedPods"] == 3, "it is counted")
    assert services.get("poddisruptionbudget")["status"]["disruptionsAllowed"] >= 1


# -- those who separate networks


def test_a_network_policy_changes_at_once_and_rolls_nothing(services: Services) -> None:
    services.apply()
    services.until("Ready", "True")
    before = services.template_versions()
    assert "Egress" not in services.get("networkpolicy")["spec"]["policyTypes"]
    peers = [
        {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "web"}}},
        {"ipBlock": {"cidr": "10.0.0.0/8"}},
    ]
    services.apply(security={"networkPolicy": {"allowFrom": peers, "egress": "Restricted"}})
    until(lambda: services.get("networkpolicy")["spec"]["policyTypes"] == ["Ingress", "Egress"], "it is restricted")
    assert services.get("networkpolicy")["spec"]["ingress"][0]["from"] == peers
    wide = '[{"op": "add", "path": "/spec/ingress/-", "value": {}}]'
    services.kubectl("patch", "networkpolicy", "m", "--type=json", f"--patch={wide}")
    until(lambda: len(services.get("networkpolicy")["spec"]["ingress"]) == 2, "what others open is closed again")
    services.apply(security={"networkPolicy": {"enabled": False}})
    until(lambda: not services.all("networkpolicies"), "there is none any more")
    services.apply()
    until(lambda: services.all("networkpolicies"), "there is one again")
    services.until("Ready", "True")
    assert services.template_versions() == before


def test_what_the_api_server_refuses_of_a_policy_is_told_and_holds_up_nothing_else(services: Services) -> None:
    services.apply(security={"networkPolicy": {"allowFrom": [{"podSelector": {"matchLabels": {"a b": "c"}}}]}})
    stalled = services.until("Stalled", "True", "Rejected")
    assert "spec.ingress[0].from[0].podSelector.matchLabels" in stalled["message"]
    services.until("Available", "True")
    services.kubectl("scale", "modelservice", "m", "--replicas=2")
    until(lambda: services.get("modelservice")["status"]["readyReplicas"] == 2, "two pods are ready")
    assert services.get("poddisruptionbudget")["spec"]["minAvailable"] == 1
    services.apply(replicas=2)
    services.until("Ready", "True")


def test_a_foreign_budget_of_the_name_is_left_alone_and_named_and_holds_up_nothing_else(services: Services) -> None:
    services.kubectl("create", "poddisruptionbudget", "m", "--selector=app=m", "--min-available=1")
    foreign = services.get("poddisruptionbudget")["spec"]
    services.apply()
    stalled = services.until("Stalled", "True", "NameConflict")
    assert "PodDisruptionBudget 'm'" in stalled["message"]
    services.until("Available", "True")
    assert services.get("poddisruptionbudget")["spec"] == foreign
    assert services.all("networkpolicies")
    services.kubectl("annotate", "poddisruptionbudget", "m", "modelservice.dev/adopt=m")
    services.kubectl("annotate", "modelservice", "m", "try=again")
    services.until("Ready", "True")
    assert services.get("poddisruptionbudget")["spec"]["minAvailable"] == 0


# -- those who edit, rewrite and forbid

CHILDREN = "controllerrevisions,configmaps,deployments,services,poddisruptionbudgets,networkpolicies"


def children(services: Services) -> list[Object]:
    """Return all that the operator has made: the namespace has other things, too."""
    return [each for each in services.all(CHILDREN) if "modelservice.dev/name" in each["metadata"].get("labels", {})]


def stored(services: Services) -> list[Object]:
    """Return what can be written of them; their status is others', who may take a while."""
    found = children(services)
    for each in found:
        each.pop("status", None)
        del each["metadata"]["resourceVersion"]
    return found


def looks_write_nothing(services: Services, operator: OperatorProcess) -> None:
    """Have the operator look again and again."""
    until(operator.is_idle, "the operator has looked at everything")
    known, sent = stored(services), operator.writes()
    for look in range(5):
        services.kubectl("annotate", "--overwrite", "modelservice", "m", f"look={look}")
        until(operator.is_idle, "the operator has looked at it")
    assert (stored(services), operator.writes()) == (known, sent)


def test_labels_and_annotations_that_people_add_survive(services: Services, operator: OperatorProcess) -> None:
    def notes() -> dict[str, tuple[str | None, ...]]:
        found = {f"{each['kind']} {each['metadata']['name']}": each["metadata"] for each in children(services)}
        return {
            name: tuple(metadata.get(kind, {}).get("example.com/team") for kind in ("labels", "annotations"))
            for name, metadata in found.items()
        }

    services.apply(replicas=2)
    services.until("Ready", "True")
    for each in children(services):
        what = f"{each['kind']}/{each['metadata']['name']}"
        services.kubectl("label", what, "example.com/team=nlp")
        services.kubectl("annotate", what, "example.com/team=ours")
    noted = notes()
    assert set(noted.values()) == {("nlp", "ours")}
    looks_write_nothing(services, operator)
    # Every kind that is ever written again is written again now.
    peers = {"networkPolicy": {"allowFrom": [{"podSelector": {}}]}}
    services.apply(replicas=3, service={"type": "NodePort"}, security=peers)
    services.until("Ready", "True")
    until(lambda: services.get("poddisruptionbudget")["spec"]["minAvailable"] == 2, "the budget is written")
    until(lambda: "from" in services.get("networkpolicy")["spec"]["ingress"][0], "the policy is written")
    assert notes() == noted
    # What is ours is taken back from whoever changes it, and leaves theirs.
    services.kubectl("label", "--overwrite", "service", "m", "modelservice.dev/installation=other")
    until(
        lambda: services.get("service")["metadata"]["labels"]["modelservice.dev/installation"] == "default",
        "it is back",
    )
    assert notes() == noted


def test_a_webhook_that_rewrites_images_causes_no_write_loop(
    services: Services, operator: OperatorProcess, plane: ControlPlane, tmp_path: Path
) -> None:
    def images(body: Object) -> set[str]:
        pod = body["spec"]["template"]["spec"]
        return {each["image"] for each in pod["initContainers"] + pod["containers"]}

    with mirrored(kubectl_of(plane), tmp_path, services.namespace):
        services.apply(replicas=2)
        services.until("Ready", "True")
        (deployment,) = services.all("deployments")
        assert images(deployment) == {f"{MIRROR}localhost/server:dev"}
        looks_write_nothing(services, operator)

        services.apply(replicas=3)
        until(lambda: services.get("modelservice")["status"]["readyReplicas"] == 3, "three pods are ready")
        looks_write_nothing(services, operator)
        (deployment,) = services.all("deployments")
        assert deployment["spec"]["replicas"] == 3
        assert images(deployment) == {f"{MIRROR}localhost/server:dev"}

        # A new process has to find out what the server makes of it, once; nothing that is stored changes by that.
        known = stored(services)
        operator.stop()
        operator.start()
        services.kubectl("annotate", "--overwrite", "modelservice", "m", "look=again")
        until(operator.is_idle, "the operator has looked at everything")
        assert operator.writes() <= 1
        assert stored(services) == known
        looks_write_nothing(services, operator)


SPECS: dict[str, Object] = {
    "the smallest": {},
    "tokens, TLS, an authority, a restricted network": {
        "model": {"uri": "https://example.com/m.tar", "caConfigMapRef": {"name": "ca"}},
        "security": {
            "auth": {"tokensSecretRef": {"name": "tokens"}},
            "tls": {"secretRef": {"name": "tls"}},
            "networkPolicy": {"allowFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "egress": "Restricted"},
        },
    },
    "an image that does not run as root": {
        "runtime": {"name": "Custom", "image": "example/server:1", "metricsPath": "/metrics", "metricsPort": 9000},
        "podTemplate": {"spec": {"securityContext": {"runAsNonRoot": True}}},
    },
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_every_child_is_admitted_where_only_restricted_pods_are(services: Services, spec: Object) -> None:
    levels = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")]
    services.kubectl("label", "namespace", services.namespace, *levels)
    services.apply(**spec)
    services.until("Ready", "True")  # so its pods were admitted
    made = children(services)
    assert {each["kind"] for each in made} >= {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"}
    for body in made:
        old = body["metadata"]
        body["metadata"] = {"name": f"{old['name']}-b", "labels": old["labels"]}
        for given in ("clusterIP", "clusterIPs"):
            body.get("spec", {}).pop(given, None)
        admitted = [body]
        if body["kind"] == "Deployment":
            template = body["spec"]["template"]
            metadata = template["metadata"] | {"name": "pod"}
            admitted.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
        for each in admitted:
            services.kubectl("create", "--dry-run=server", "--warnings-as-errors", "-f", "-", stdin=each)


def test_an_image_that_may_run_as_root_is_refused_there_in_words_that_tell_what_to_do(services: Services) -> None:
    services.kubectl("label", "namespace", services.namespace, "pod-security.kubernetes.io/enforce=restricted")
    services.apply(runtime={"name": "Custom", "image": "example/server:1"})
    ready = services.until("Ready", "False", "Rejected")
    assert "runAsNonRoot != true" in ready["message"]


# -- those who have run the model by themselves until now


def by_hand(services: Services, **annotations: str) -> tuple[Object, Object]:
    """A Deployment and a Service of the name, as people make them; return both as they are."""
    labels = {"app": "m"}
    container = {"name": "server", "image": "example/server:1", "ports": [{"containerPort": 8080}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    made: list[Object] = [
        {"apiVersion": "apps/v1", "kind": "Deployment"}
        | {"spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}},
        {"apiVersion": "v1", "kind": "Service", "spec": {"selector": labels, "ports": [{"port": 8080}]}},
    ]
    for body in made:
        metadata = {"name": "m", "labels": labels, "annotations": annotations}
        services.kubectl("apply", "-f", "-", stdin=body | {"metadata": metadata})
    services.kubectl("rollout", "status", "deployment/m", "--timeout=60s")
    return services.get("deployment"), services.get("service")


def test_what_others_run_is_left_alone_and_named_with_what_hands_it_over(services: Services) -> None:
    deployment, service = by_hand(services)
    services.apply(replicas=2)
    stalled = services.until("Stalled", "True", "NameConflict")
    assert stalled["message"] == (
        "Service 'm' already exists and belongs to no ModelService (it was written by kubectl-client-side-apply), "
        "and so does Deployment 'm'. To hand over what is there: kubectl annotate services/m deployments/m "
        "modelservice.dev/adopt=m"
    )
    assert services.get("service") == service
    assert services.get("deployment")["metadata"]["generation"] == deployment["metadata"]["generation"]
    assert [each["metadata"]["name"] for each in services.all("deployments")] == ["m"]
    services.kubectl(*stalled["message"].partition("kubectl ")[2].split())
    services.kubectl("annotate", "modelservice", "m", "try=again")
    services.until("Ready", "True")
    until(lambda: [each["metadata"]["name"] for each in services.all("deployments")] != ["m"], "ours is there")


def test_what_is_handed_over_serves_until_all_of_ours_can(services: Services, kubelet: Kubelet) -> None:
    deployment, service = by_hand(services, **{"modelservice.dev/adopt": "m"})
    kubelet.state_of = lambda _: None
    services.apply(replicas=2)
    until(lambda: len(services.all("deployments")) == 2, "ours is there")
    first = until(lambda: [pod for pod in services.all("pods") if "app" not in pod["metadata"]["labels"]], "a pod")[0]
    become(services, first["metadata"]["name"], serving())
    waiting = services.until("Ready", "False", "ModelLoading")
    until(lambda: len(services.all("pods")) == 4, "the first has pinned the model")
    until(lambda: services.revisions()[0]["ready"] == 1, "one of two is ready")
    assert waiting["message"].startswith("What is handed over serves until all pods of revision")
    assert services.get("service")["spec"] == service["spec"]
    assert services.get("deployment")["metadata"]["generation"] == deployment["metadata"]["generation"]

    kubelet.state_of = lambda _: serving()
    services.until("Ready", "True")
    selector = services.get("service")["spec"]["selector"]
    assert selector == {"modelservice.dev/name": "m", "modelservice.dev/revision": services.revisions()[0]["name"]}
    old, new = service["spec"], services.get("service")["spec"]
    assert new["clusterIP"] == old["clusterIP"]
    # Under another name its endpoints would be missed for a moment.
    assert [each.get("name") for each in new["ports"]] == [each.get("name") for each in old["ports"]] == [None]
    until(lambda: "m" not in {each["metadata"]["name"] for each in services.all("deployments")}, "the old one has gone")
    until(lambda: len(services.all("pods")) == 2, "and its pods with it")


def test_a_deployment_that_was_not_handed_over_stays(services: Services, operator: OperatorProcess) -> None:
    by_hand(services)
    services.kubectl("annotate", "service", "m", "modelservice.dev/adopt=m")
    services.apply(replicas=2)
    services.until("Ready", "True")
    deployment = services.get("deployment")
    operator.stop()
    operator.start()
    services.kubectl("annotate", "modelservice", "m", "look=again")
    until(operator.is_idle, "the operator has looked at everything")
    assert operator.writes() == 0
    assert services.get("deployment") == deployment
