"""The chart on a real API server: install, upgrade, uninstall, the rights that it gives, the pods that it asks for."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cluster.controlplane import ControlPlane
from controlplane.chart import CHART, CRD, RELEASE, ROOT, Helm
from controlplane.conftest import kubectl_of, remove_definition, until_gone, until_served
from modelservice_operator import config, names, rbac
from sizes import IS_FULL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Kubectl = Callable[..., str]

ACCOUNT = f"system:serviceaccount:operators:{RELEASE}"
SERVICE = {
    "apiVersion": "modelservice.dev/v1alpha1",
    "kind": "ModelService",
    "metadata": {"name": "digits", "namespace": "default"},
    "spec": {"model": {"uri": "pvc://models/digits"}},
}


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of this module's own: here the CRD belongs to the release."""
    with ControlPlane(tmp_path_factory.mktemp("charts") / "cluster") as plane:
        yield plane


@pytest.fixture(scope="module")
def kubectl(plane: ControlPlane) -> Kubectl:
    return kubectl_of(plane)


@pytest.fixture(params=["helm", pytest.param("helm4", marks=pytest.mark.skipif(not IS_FULL, reason="make test-full"))])
def helm(plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Helm]:
    """Helm for the control plane, which is without release and CRD before and after the test."""
    helm = Helm(tmp_path, plane.kubeconfig, program=request.param)
    yield helm
    if helm("list", "--all-namespaces", "--short"):
        helm("uninstall", RELEASE, "--namespace=operators")
    remove_definition(kubectl, CRD)


def install(helm: Helm, *options: str) -> str:
    return helm("upgrade", "--install", RELEASE, CHART, "--namespace=operators", "--create-namespace", *options)


def make_namespaces(kubectl: Kubectl, *names: str, **labels: str) -> None:
    """Make them unless they are there."""
    for name in names:
        metadata = {"name": name, "labels": labels}
        kubectl("apply", "--filename=-", stdin={"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


# -- without a cluster


def test_the_linter_has_nothing_to_say(offline: Helm) -> None:
    assert "1 chart(s) linted, 0 chart(s) failed" in offline("lint", "--strict", CHART)


@pytest.mark.parametrize(
    "mistake",
    [
        "crd.enabled=false",
        "crds.enabled=perhaps",
        "images.operator.pullPolicy=Sometimes",
        "accelerators.l4.resources=nvidia.com/gpu",
        "accelerators.l4.resource=gpu",
        "accelerators.L4.resource=nvidia.com/gpu",
        "limits.image={x}",
        "limits.trust={Everything}",
        "limits.alerting={email}",
        "trustedKeys.team-a=team-a.pub",
        "serviceAccount.create=false",
        "installation=",
        "watch.namespaces=team-a",
        "watch.namespaces={Team}",
        "watch.namespaces={a,a}",
        "replicas=two",
        "podDisruptionBudget.minAvailable=1",
        "networkPolicy.metricsFrom=everywhere",
    ],
)
def test_a_mistaken_value_is_refused(offline: Helm, mistake: str) -> None:
    with pytest.raises(AssertionError, match="values don't meet the specifications of the schema"):
        offline("template", CHART, f"--set={mistake}")


def test_the_configuration_is_what_the_values_say(offline: Helm) -> None:
    accelerators = {"nvidia-l4": {"resource": "nvidia.com/gpu", "tolerations": [{"operator": "Exists"}]}, "cpu": {}}
    rendered = offline.manifests(
        f"--set-json=accelerators={json.dumps(accelerators)}",
        "--set=images.server.repository=registry.example.com/server,images.server.tag=1.2,installation=second",
        "--set=limits.images={registry.example.com/**}",
        "--set=monitoring.labels.release=prometheus,monitoring.annotations=false,monitoring.namespaces={prometheus}",
        "--set=prometheus.url=http://prometheus.example.com:9090,autoscaling.externalMetric=inflight",
    )
    written = yaml.safe_load(rendered["ConfigMap", RELEASE]["data"]["config.yaml"])
    unchanged = yaml.safe_load((CHART / "values.yaml").read_text())["monitoring"]
    assert written == {
        "installation": "second",
        "images": {"server": "registry.example.com/server:1.2"},
        "watch": {"namespaces": []},
        "accelerators": accelerators,
        "limits": {"images": ["registry.example.com/**"]},
        "trustedKeys": {},
        "evidence": {"logs": True},
        "monitoring": unchanged
        | {"labels": {"release": "prometheus"}, "annotations": False, "namespaces": ["prometheus", "operators"]},
        "prometheus": {"url": "http://prometheus.example.com:9090", "bearerTokenFile": "", "caFile": ""},
        "autoscaling": {"externalMetric": "inflight", "demandQuery": "", "triggerAuthentication": ""},
    }
    assert config.parse(written, source="config.yaml").accelerators.keys() == accelerators.keys()


def test_a_changed_configuration_restarts_the_operator_and_nothing_else_does(offline: Helm) -> None:
    def template(*options: str) -> dict[str, Any]:
        return offline.manifests(*options)["Deployment", RELEASE]["spec"]["template"]

    assert template() == template("--set=crds.keep=false")
    assert template() != template("--set-json=accelerators.cpu={}")


def test_two_operators_run_and_know_who_they_are(offline: Helm) -> None:
    deployment = offline.manifests()["Deployment", RELEASE]["spec"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    pod = deployment["template"]["spec"]
    env = {each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"] for each in pod["containers"][0]["env"]}
    assert env == {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace"}
    assert list(pod["affinity"]) == ["podAntiAffinity"]


def test_an_affinity_of_the_administrator_replaces_ours(offline: Helm) -> None:
    deployment = offline.manifests("--set-json=affinity.nodeAffinity={}", "--set=replicas=1")["Deployment", RELEASE][
        "spec"
    ]
    assert deployment["replicas"] == 1
    assert deployment["template"]["spec"]["affinity"] == {"nodeAffinity": {}}


def test_pods_are_placed_and_pulled_as_the_administrator_says(offline: Helm) -> None:
    values: dict[str, Any] = {
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
    }
    given = [f"--set-json={name}={json.dumps(value)}" for name, value in values.items()]
    given += ["--set=imagePullSecrets={pull}", "--set=podAnnotations.a=b", "--set=serviceAccount.annotations.c=d"]
    rendered = offline.manifests(*given)
    template = rendered["Deployment", RELEASE]["spec"]["template"]
    pod = template["spec"]
    assert pod == pod | values
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert template["metadata"]["annotations"]["a"] == "b"
    assert rendered["ServiceAccount", RELEASE]["metadata"]["annotations"] == {"c": "d"}


def test_the_roles_grant_exactly_what_the_operator_needs_and_say_why(offline: Helm) -> None:
    """test_rbac.py shows that the table, which this compares with the chart, is what the operator really uses."""

    def role(*where: rbac.Where, in_cluster: bool = True) -> list[dict[str, Any]]:
        return [as_granted(rule) for rule in rbac.rules("second", in_cluster=in_cluster) if rule.where in where]

    rendered = offline.manifests("--set=installation=second")
    assert rendered["ClusterRole", RELEASE]["rules"] == role(rbac.Where.MODELS, rbac.Where.CLUSTER)
    own = rendered["Role", f"{names.lease('second')}-lease"]
    assert own["rules"] == role(rbac.Where.OWN)
    assert own["metadata"]["namespace"] == "operators"
    text = offline("template", RELEASE, CHART, "--show-only=templates/rbac.yaml")
    assert re.findall(r"^  # (.*)\n  - apiGroups", text, re.MULTILINE) == [rule.why for rule in rbac.rules("second")]

    silent = offline.manifests("--set=evidence.logs=false")["ClusterRole", RELEASE]["rules"]
    assert [rule for rule in rendered["ClusterRole", RELEASE]["rules"] if rule not in silent] == [
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}
    ]

    namespaced = {
        each["metadata"]["namespace"]: each["rules"]
        for each in offline.all("--set=installation=second,watch.namespaces={team-a,team-b}")
        if each["kind"] == "Role"
    }
    models, own_rules = (role(where, in_cluster=False) for where in (rbac.Where.MODELS, rbac.Where.OWN))
    assert namespaced == {"team-a": models, "team-b": models, "operators": own_rules}


def as_granted(rule: rbac.Rule) -> dict[str, Any]:
    """Return a rule of the table as a role has it."""
    return {
        "apiGroups": [rule.resources[0].group],
        "resources": list(dict.fromkeys(right.plural for right in rule.rights())),
        **({"resourceNames": [rule.name]} if rule.name else {}),
        "verbs": list(rule.verbs),
    }


def test_an_operator_of_some_namespaces_is_told_them_and_has_no_role_in_the_cluster(offline: Helm) -> None:
    rendered = list(offline.all("--set=watch.namespaces={team-a,team-b}"))
    assert not [each for each in rendered if each["kind"].startswith("ClusterRole")]
    bound, roles = (
        {(each["metadata"]["namespace"], each["metadata"]["name"]) for each in rendered if each["kind"] == kind}
        for kind in ("RoleBinding", "Role")
    )
    assert bound == roles
    (told,) = [yaml.safe_load(each["data"]["config.yaml"]) for each in rendered if each["kind"] == "ConfigMap"]
    assert config.parse(told, source="config.yaml").watch.namespaces == ("team-a", "team-b")


def test_the_two_modes_exclude_each_other(offline: Helm) -> None:
    with pytest.raises(AssertionError, match=r"rbac\.aggregate and watch\.namespaces exclude each other: "):
        offline("template", CHART, "--set=watch.namespaces={team-a},rbac.aggregate=true")
    assert ("ClusterRole", f"{RELEASE}-view") in offline.manifests("--set=rbac.aggregate=true")
    assert ("ClusterRole", f"{RELEASE}-view") not in offline.manifests("--set=rbac.aggregate=false")


def test_drains_take_one_operator_at_a_time(offline: Helm) -> None:
    rendered = offline.manifests()
    budget = rendered["PodDisruptionBudget", RELEASE]["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    assert budget["selector"] == rendered["Deployment", RELEASE]["spec"]["selector"]
    assert ("PodDisruptionBudget", RELEASE) not in offline.manifests("--set=podDisruptionBudget.enabled=false")


def test_the_network_lets_in_requests_for_metrics_and_out_what_the_administrator_says(offline: Helm) -> None:
    rendered = offline.manifests()
    policy = rendered["NetworkPolicy", RELEASE]["spec"]
    assert policy["podSelector"] == rendered["Deployment", RELEASE]["spec"]["selector"]
    assert policy["policyTypes"] == ["Ingress"]
    assert policy["ingress"] == [{"ports": [{"port": "http"}]}]

    peers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    egress = [{"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}], "ports": [{"port": 6443}]}]
    narrow = offline.manifests(
        f"--set-json=networkPolicy.metricsFrom={json.dumps(peers)}",
        f"--set-json=networkPolicy.egress={json.dumps(egress)}",
    )["NetworkPolicy", RELEASE]["spec"]
    assert narrow["policyTypes"] == ["Ingress", "Egress"]
    assert narrow["ingress"] == [{"ports": [{"port": "http"}], "from": peers}]
    assert narrow["egress"] == egress
    assert ("NetworkPolicy", RELEASE) not in offline.manifests("--set=networkPolicy.enabled=false")


def test_the_crd_can_be_left_to_others(offline: Helm) -> None:
    assert ("CustomResourceDefinition", CRD) not in offline.manifests("--set=crds.enabled=false")


def test_the_crd_is_the_one_in_crds(offline: Helm) -> None:
    rendered = offline.manifests()["CustomResourceDefinition", CRD]
    assert rendered["spec"] == yaml.safe_load((ROOT / "crds/modelservice.dev_modelservices.yaml").read_text())["spec"]
    assert rendered["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    dropped = offline.manifests("--set=crds.keep=false")["CustomResourceDefinition", CRD]
    assert "annotations" not in dropped["metadata"]


# -- with one


def test_install_upgrade_and_uninstall_leave_the_models_alone(helm: Helm, kubectl: Kubectl) -> None:
    install(helm)
    until_served(kubectl)
    kubectl("apply", "--filename=-", stdin=SERVICE)
    before = kubectl("get", "modelservice", "digits", "--output=jsonpath={.metadata.uid} {.metadata.generation}")

    install(helm, "--set-json=accelerators.cpu={}")
    assert "cpu: {}" in kubectl("get", "configmap", RELEASE, "--namespace=operators", "--output=yaml")

    helm("uninstall", RELEASE, "--namespace=operators")
    left = kubectl("get", "deployments,configmaps,serviceaccounts", "--namespace=operators", "--output=name")
    assert RELEASE not in left
    assert RELEASE not in kubectl("get", "clusterroles,clusterrolebindings", "--output=name")
    assert RELEASE not in kubectl("get", "roles,rolebindings", "--namespace=operators", "--output=name")
    after = kubectl("get", "modelservice", "digits", "--output=jsonpath={.metadata.uid} {.metadata.generation}")
    assert after == before

    install(helm)  # takes over the CRD that it left
    assert kubectl("get", "modelservice", "digits", "--output=name")


def test_an_upgrade_brings_a_new_crd(helm: Helm, kubectl: Kubectl) -> None:
    install(helm)
    patch = '[{"op": "remove", "path": "/spec/names/shortNames"}]'
    kubectl("patch", "crd", CRD, "--type=json", f"--patch={patch}")  # as an older chart had it
    install(helm)
    assert kubectl("get", "crd", CRD, "--output=jsonpath={.spec.names.shortNames}") == '["modelsvc"]'


def test_the_crd_goes_where_that_was_asked_for(helm: Helm, kubectl: Kubectl) -> None:
    install(helm, "--set=crds.keep=false")
    helm("uninstall", RELEASE, "--namespace=operators")
    until_gone(kubectl, CRD)


def test_the_pod_is_admitted_where_only_restricted_pods_are(helm: Helm, kubectl: Kubectl) -> None:
    make_namespaces(kubectl, "restricted", **{"pod-security.kubernetes.io/enforce": "restricted"})
    template = helm.manifests()["Deployment", RELEASE]["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    pod["metadata"] |= {"name": "operator", "namespace": "restricted"}
    assert kubectl("create", "--dry-run=server", "--filename=-", stdin=pod) == "pod/operator created (server dry run)\n"


def may(kubectl: Kubectl, user: str, verb: str, resource: str, namespace: str = "") -> bool:
    """Tell whether the API server lets `user` do this in a namespace, or (none given) in every one."""
    group, _, rest = resource.rpartition(":")
    name, _, subresource = rest.partition("/")
    attributes = {"group": group, "resource": name, "subresource": subresource, "verb": verb, "namespace": namespace}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    answer = kubectl("create", "--filename=-", "--output=json", stdin=review)
    return bool(json.loads(answer)["status"]["allowed"])


def test_the_operator_may_do_its_work_and_no_more(helm: Helm, kubectl: Kubectl) -> None:
    install(helm)
    allowed = {
        ("watch", "modelservice.dev:modelservices"),
        ("patch", "modelservice.dev:modelservices/status"),
        ("patch", "modelservice.dev:modelservices/scale"),
        ("update", "modelservice.dev:modelservices/finalizers"),
        ("patch", "apps:deployments"),
        ("create", "apps:controllerrevisions"),
        ("delete", ":services"),
        ("create", ":configmaps"),
        ("watch", ":pods"),
        ("create", "events.k8s.io:events"),
        ("get", "coordination.k8s.io:leases"),
        ("patch", "policy:poddisruptionbudgets"),
        ("delete", "networking.k8s.io:networkpolicies"),
        ("create", "batch:jobs"),
        ("patch", "monitoring.coreos.com:servicemonitors"),
        ("patch", "monitoring.coreos.com:prometheusrules"),
        ("list", "apiextensions.k8s.io:customresourcedefinitions"),
    }
    denied = {
        ("list", "coordination.k8s.io:leases"),
        ("update", "coordination.k8s.io:leases"),
        ("get", ":secrets"),
        ("list", ":secrets"),
        ("patch", "modelservice.dev:modelservices"),
        ("delete", "modelservice.dev:modelservices"),
        ("create", ":pods"),
        ("delete", ":pods"),
        ("create", ":pods/exec"),
        ("create", ":pods/eviction"),
        ("get", ":nodes"),
        ("create", ":serviceaccounts/token"),
        ("patch", "apiextensions.k8s.io:customresourcedefinitions"),
        ("bind", "rbac.authorization.k8s.io:clusterroles"),
    }
    assert {question for question in allowed | denied if may(kubectl, ACCOUNT, *question)} == allowed


def test_an_operator_of_some_namespaces_may_nothing_anywhere_else(helm: Helm, kubectl: Kubectl) -> None:
    make_namespaces(kubectl, "team-a", "team-b")
    notes = install(helm, "--set=watch.namespaces={team-a,team-b}")
    assert "looks after the ModelServices of team-a, team-b, and of no other namespace" in notes
    assert "kubectl apply --namespace team-a" in notes
    assert RELEASE not in kubectl("get", "clusterroles,clusterrolebindings", "--output=name")
    for question in (("patch", "apps:deployments"), ("watch", "modelservice.dev:modelservices"), ("list", ":pods")):
        where = [may(kubectl, ACCOUNT, *question, namespace) for namespace in ("team-a", "team-b", "operators", "")]
        assert where == [True, True, False, False], question
    assert not may(kubectl, ACCOUNT, "list", "apiextensions.k8s.io:customresourcedefinitions")
    install(helm, "--set=watch.namespaces={team-b}")
    assert [may(kubectl, ACCOUNT, "list", ":pods", namespace) for namespace in ("team-a", "team-b")] == [False, True]
    helm("uninstall", RELEASE, "--namespace=operators")
    for name in ("team-a", "team-b", "operators"):
        assert RELEASE not in kubectl("get", "roles,rolebindings", f"--namespace={name}", "--output=name")


def test_a_second_release_that_would_compete_for_the_lease_is_refused(helm: Helm) -> None:
    install(helm)
    second = ("install", "second", CHART, "--namespace=operators", "--set=crds.enabled=false")
    with pytest.raises(AssertionError, match='Role "modelservice-operator-default-lease"'):
        helm(*second)
    helm(*second, "--set=installation=second")
    helm("uninstall", "second", "--namespace=operators")


def test_the_crd_goes_from_one_release_to_another(helm: Helm, kubectl: Kubectl) -> None:
    install(helm)
    second = ("upgrade", "--install", "second", CHART, "--namespace=operators", "--set=installation=second")
    with pytest.raises(AssertionError, match="invalid ownership metadata"):
        helm(*second)
    owner = ("meta.helm.sh/release-name=second", "meta.helm.sh/release-namespace=operators")
    kubectl("annotate", "crd", CRD, "--overwrite", *owner)
    install(helm, "--set=crds.enabled=false")
    helm(*second)
    helm("uninstall", "second", "--namespace=operators")
    assert CRD in kubectl("get", "crd", "--output=name")


def test_people_may_do_with_models_what_they_may_do_with_a_namespace(helm: Helm, kubectl: Kubectl) -> None:
    install(helm)
    for role in ("view", "edit"):
        kubectl("delete", "clusterrolebinding", f"test-{role}", "--ignore-not-found")
        kubectl("create", "clusterrolebinding", f"test-{role}", f"--clusterrole={RELEASE}-{role}", f"--user={role}er")
    models, status, scale = (f"modelservice.dev:modelservices{part}" for part in ("", "/status", "/scale"))
    assert [may(kubectl, "viewer", verb, models) for verb in ("get", "watch", "create")] == [True, True, False]
    assert [may(kubectl, "editer", verb, models) for verb in ("create", "patch", "delete")] == [True, True, True]
    assert may(kubectl, "editer", "patch", scale)
    assert not may(kubectl, "editer", "patch", status)
    roles = helm.manifests()
    for role, targets in (("view", ["view", "edit", "admin"]), ("edit", ["edit", "admin"])):
        labels = roles["ClusterRole", f"{RELEASE}-{role}"]["metadata"]["labels"]
        prefix = "rbac.authorization.k8s.io/aggregate-to-"
        assert [label.removeprefix(prefix) for label in labels if label.startswith(prefix)] == targets


def test_the_notes_end_with_commands_that_work(helm: Helm, kubectl: Kubectl) -> None:
    notes = install(helm).partition("NOTES:")[2]
    until_served(kubectl)
    manifest = re.search(r"<<'EOF'\n(.*?)\n *EOF\n", notes, re.DOTALL)
    assert manifest
    kubectl("apply", "--dry-run=server", "--filename=-", stdin=manifest[1])
    assert f"rollout status deployment/{RELEASE}" in notes
