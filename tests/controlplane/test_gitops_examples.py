"""The examples for Argo CD and Flux are what their own definitions, the chart and the API allow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cluster.definitions import definition
from controlplane.chart import CHART, RELEASE, Helm
from controlplane.conftest import kubectl_of, until_served

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.controlplane import ControlPlane

    Kubectl = Callable[..., str]

GITOPS = Path(__file__).parents[2] / "examples/gitops"
KINDS = {
    "applications.argoproj.io",
    "helmreleases.helm.toolkit.fluxcd.io",
    "kustomizations.kustomize.toolkit.fluxcd.io",
    "gitrepositories.source.toolkit.fluxcd.io",
}
NAMESPACES = ("argocd", "flux-system")


@pytest.fixture(scope="module", autouse=True)
def definitions(control_plane: ControlPlane) -> None:
    kubectl = kubectl_of(control_plane)
    for name in KINDS:
        kubectl("apply", "--server-side", "--filename", str(definition(*name.split(".", 1))))
    until_served(kubectl)
    for name in NAMESPACES:
        kubectl("create", "namespace", name)


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((GITOPS / name).read_text()))


@pytest.mark.parametrize("file", sorted(GITOPS.rglob("*.yaml")), ids=lambda file: str(file.relative_to(GITOPS)))
def test_an_example_passes_the_api_server(kubectl: Kubectl, file: Path) -> None:
    said = kubectl("apply", "--server-side", "--dry-run=server", "--filename", str(file))
    assert said.count("(server dry run)") == len(documents(str(file.relative_to(GITOPS))))


def test_a_misspelt_key_does_not(kubectl: Kubectl) -> None:
    [application] = documents("argocd/models.yaml")
    application["spec"]["syncPolicy"]["syncOption"] = []
    with pytest.raises(AssertionError, match=r'unknown field "spec\.syncPolicy\.syncOption"'):
        kubectl("create", "--dry-run=server", "--filename=-", stdin=application)


def test_the_values_are_values_of_the_chart(tmp_path: Path) -> None:
    [application], [_, release] = documents("argocd/operator.yaml"), documents("flux/operator.yaml")
    values = application["spec"]["source"]["helm"]["valuesObject"]
    assert release["spec"]["values"] == values
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    assert "registry.example.com/modelservice/operator:0.1.0" in Helm(tmp_path)(
        "template", RELEASE, CHART, "--values", tmp_path / "values.yaml"
    )


def test_the_paths_lead_somewhere() -> None:
    root = GITOPS.parents[1]
    sources = [documents(f"argocd/{name}.yaml")[0]["spec"]["source"]["path"] for name in ("operator", "models")]
    sources.append(documents("flux/operator.yaml")[1]["spec"]["chart"]["spec"]["chart"])
    sources.append(documents("flux/models.yaml")[0]["spec"]["path"])
    assert [path for path in sources if not (root / path).is_dir()] == []
