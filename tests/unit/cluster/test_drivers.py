"""Which way to a cluster is taken, and what kind is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster import drivers
from cluster.given import Given
from cluster.kind import Kind

OURS = Path("/checkout/.cluster")


@pytest.mark.parametrize(
    ("asked", "environment", "kind_works", "driver"),
    [
        ("auto", {}, False, "node"),
        ("auto", {}, True, "kind"),
        ("auto", {"KUBECONFIG": "/home/me/.kube/config"}, True, "given"),
        ("auto", {"KUBECONFIG": "/checkout/.cluster/default/kubeconfig"}, False, "node"),  # it is our own
        ("auto", {"KUBECONFIG": ""}, False, "node"),
        ("node", {"KUBECONFIG": "/home/me/.kube/config"}, True, "node"),
        ("kind", {}, False, "kind"),
    ],
)
def test_the_users_cluster_comes_before_kind_and_kind_before_ours(
    asked: str,
    environment: dict[str, str],
    kind_works: bool,
    driver: str,
) -> None:
    assert drivers.choose(asked, environment, OURS, docker_and_kind=kind_works) == driver


def test_kind_is_told_what_the_environment_names() -> None:
    environment = {"KIND": "/opt/kind", "KIND_NODE_IMAGE": "local/node:v1.35.4", "KIND_CLUSTER_NAME": "mine"}
    kind = Kind(OURS / "default", environment)
    assert kind.create() == [
        *("/opt/kind", "create", "cluster", "--name", "mine", "--image", "local/node:v1.35.4"),
        *("--kubeconfig", "/checkout/.cluster/default/kubeconfig", "--wait", "180s"),
    ]
    assert kind.load(Path("/images/a.tar")) == ["/opt/kind", "load", "image-archive", "/images/a.tar", "--name", "mine"]
    assert kind.delete()[:5] == ["/opt/kind", "delete", "cluster", "--name", "mine"]


def test_kind_decides_about_the_image_when_nobody_else_does() -> None:
    kind = Kind(OURS / "default", {})
    assert "--image" not in kind.create()
    assert kind.cluster == "modelservice-default"


def test_an_image_for_somebody_elses_cluster_is_refused_with_a_way_out() -> None:
    with pytest.raises(Exception, match=r"minikube image load /images/a\.tar"):
        Given(OURS / "default", {"KUBECONFIG": "/home/me/.kube/config"}).load_image(Path("/images/a.tar"))
