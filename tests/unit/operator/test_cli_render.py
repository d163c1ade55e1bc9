"""`render`, as it is called; tests/controlplane compares what it prints with what the operator makes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from modelservice_operator.cli import main

if TYPE_CHECKING:
    from pathlib import Path

MODEL = """
apiVersion: modelservice.dev/v1alpha1
kind: ModelService
metadata: {name: digits}
spec: {model: {uri: pvc://models/digits}, replicas: 2}
"""
CLAIM = "\nkind: PersistentVolumeClaim\nmetadata: {name: models}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "models.yaml"


def rendered(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[tuple[str, str], dict[str, Any]]:
    assert main(["render", *map(str, arguments)]) == 0
    return {
        (body["kind"], body["metadata"]["name"]): body for body in yaml.safe_load_all(capsys.readouterr().out) if body
    }


def refused(caplog: pytest.LogCaptureFixture, *arguments: object) -> str:
    assert main(["render", *map(str, arguments)]) == 1
    return caplog.records[-1].getMessage()


def test_every_document_is_rendered_and_what_is_no_model_is_passed_over(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("---".join([MODEL, CLAIM, "\n", MODEL.replace("digits", "letters")]))
    assert main(["render", "-f", str(file)]) == 0
    out, err = capsys.readouterr()
    assert err == f"{file}, document 2: passed over, it is no ModelService but PersistentVolumeClaim.\n"
    deployments = [each for each in yaml.safe_load_all(out) if each["kind"] == "Deployment"]
    assert [each["metadata"]["labels"]["modelservice.dev/name"] for each in deployments] == ["digits", "letters"]
    assert {each["spec"]["replicas"] for each in deployments} == {2}
    assert "&id" not in out


def test_a_list_as_kubectl_prints_it_is_read_too(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(yaml.safe_dump({"kind": "List", "items": [yaml.safe_load(MODEL)]}))
    assert ("Service", "digits") in rendered(capsys, "-f", file)


def test_stdin_is_a_dash(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(MODEL))
    assert ("Service", "digits-metrics") in rendered(capsys, "-f", "-")


def test_a_model_without_a_namespace_is_in_the_one_that_is_given(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(MODEL)
    own = rendered(capsys, "-f", file, "-n", "ml")
    assert {body["metadata"]["namespace"] for body in own.values()} == {"ml"}
    file.write_text(MODEL.replace("{name: digits}", "{name: digits, namespace: theirs}"))
    assert rendered(capsys, "-f", file, "-n", "ml")["Service", "digits"]["metadata"]["namespace"] == "theirs"


def test_the_operator_s_configuration_is_followed(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("images: {server: 'example/server:7'}\nmonitoring: {serviceMonitors: false}\n")
    file.write_text(MODEL)
    found = rendered(capsys, "-f", file, "--config", config)
    assert "ServiceMonitor" not in {kind for kind, _ in found}
    [deployment] = [body for (kind, _), body in found.items() if kind == "Deployment"]
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "example/server:7"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (MODEL.replace("uri:", "url:"), "ModelService digits: spec.model.uri: is required"),
        (MODEL.replace("{name: digits}", "{}"), "metadata.name is required."),
        (MODEL.replace("{name: digits}", "{name: Digits}"), "metadata.name must start with a letter"),
        (
            MODEL.replace("v1alpha1", "v9"),
            "apiVersion must be modelservice.dev/v1alpha1 (found 'modelservice.dev/v9').",
        ),
        (MODEL.replace("replicas: 2", "accelerator: {class: l4}"), 'spec.accelerator.class "l4" is not defined'),
        (MODEL.replace("replicas: 2", "podTemplate: {spec: {containers: 1}}"), "containers must be a list."),
        ("just words", "it is no object of Kubernetes."),
    ],
)
def test_a_mistake_is_told_with_its_document_and_nothing_is_printed(
    file: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, document: str, words: str
) -> None:
    file.write_text(f"{MODEL}---\n{document}")
    told = refused(caplog, "-f", file)
    assert told.startswith(f"{file}, document 2: ")
    assert words in told
    assert capsys.readouterr().out == ""


def test_all_mistakes_are_told_at_once(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.write_text("---".join([MODEL.replace("uri:", "url:"), MODEL, MODEL.replace("uri:", "link:")]))
    told = refused(caplog, "-f", file).splitlines()
    assert [line.split(":")[0].rpartition(", ")[2] for line in told] == ["document 1", "document 3"]


def test_a_file_that_cannot_be_read_is_named(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert refused(caplog, "-f", file).startswith(f"{file} cannot be read: ")
    file.write_text("a: [")
    assert refused(caplog, "-f", file).startswith(f"{file} is no YAML: ")


def test_a_plain_prometheus_is_told_where_to_look_and_how_to_label(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = MODEL.replace("name: digits", "name: silent").replace(
        "replicas: 2", "runtime: {name: Custom, image: example/server}"
    )
    file.write_text(f"{MODEL}---{silent}")
    assert main(["render", "-f", str(file), "-n", "ml", "--for", "prometheus"]) == 0
    [job] = yaml.safe_load(capsys.readouterr().out)["scrape_configs"]
    assert (job["job_name"], job["metrics_path"]) == ("ml/digits-metrics", "/metrics")
    [discovery] = job["kubernetes_sd_configs"]
    assert discovery["namespaces"] == {"names": ["ml"]}
    labels = {each["target_label"] for each in job["relabel_configs"] if "target_label" in each}
    assert labels == {
        *("job", "namespace", "service", "pod", "container", "endpoint"),
        *("modelservice", "revision"),
    }
