"""Which way to a cluster is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster import drivers
from cluster.given import Given

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


def test_an_image_for_somebody_elses_cluster_is_refused_with_a_way_out() -> None:
    with pytest.raises(Exception, match=r"minikube image load /images/a\.tar"):
        Given(OURS / "default", {"KUBECONFIG": "/home/me/.kube/config"}).load_image(Path("/images/a.tar"))
