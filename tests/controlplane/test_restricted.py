"""What the operator makes of models passes the server where only restricted pods may run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controlplane.rendered import of_models

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Kubectl = Callable[..., str]


def test_every_child_passes_where_only_restricted_pods_may_run(
    kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    served = set(kubectl("api-versions").split())
    kinds = set()
    for child in of_models(tmp_path):
        if child["apiVersion"] not in served:
            continue  # a definition that this server lacks: test_render.py has them
        name = child["metadata"]["name"]
        child["metadata"]["namespace"] = namespace
        assert "created (server dry run)" in kubectl("create", "--dry-run=server", "--filename=-", stdin=child)
        kinds.add(child["kind"])
        if child["kind"] == "Deployment":  # of which the policy only warns: it judges pods
            pod = {"apiVersion": "v1", "kind": "Pod", **child["spec"]["template"]}
            pod["metadata"] |= {"name": name, "namespace": namespace}
            assert "created (server dry run)" in kubectl("create", "--dry-run=server", "--filename=-", stdin=pod)
    assert {"Deployment", "Service", "ControllerRevision"} <= kinds
