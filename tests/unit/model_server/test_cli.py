"""The command line tells people and the operator the same sentence."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import model_server
from model_server import cli, report
from model_server.errors import ModelError, Reason
from model_server.protocol.explain import Method


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def small_model(path: Path) -> Path:
    path.mkdir()
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
    card = {"format": "safetensors", "architecture": "mlp", "parameters": {"layers": [2, 2], "activation": "relu"}}
    (path / "model.json").write_text(json.dumps({**card, "inputs": [tensor], "outputs": [{**tensor, "name": "y"}]}))
    save_file({"0.weight": np.ones((2, 2), "<f4"), "0.bias": np.ones(2, "<f4")}, path / "weights.safetensors")
    return path


def test_fetch_reports_what_it_brought(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/w").write_text("1234")
    code, out, _ = run(
        "fetch", f"file://{tmp_path}/m", str(tmp_path / "to"), "--report", str(tmp_path / "r"), capsys=capsys
    )
    assert code == 0
    told = json.loads((tmp_path / "r").read_text())
    assert told == json.loads(out)
    assert told == {"digest": (tmp_path / "to/digest").read_text().strip(), "files": 1, "bytes": 4}


def test_fetch_takes_its_pin_from_the_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/w").touch()
    arguments = ("fetch", f"file://{tmp_path}/m", str(tmp_path / "to"), "--report", str(tmp_path / "r"))
    monkeypatch.setenv("MODEL_DIGEST", "")
    assert run(*arguments, capsys=capsys)[0] == 0
    for pin, reason in (("sha256:" + "1" * 64, "DigestMismatch"), ("latest", "Invalid")):
        monkeypatch.setenv("MODEL_DIGEST", pin)
        code, _, err = run(*arguments, capsys=capsys)
        told = json.loads((tmp_path / "r").read_text())
        assert (code, told["reason"], told["message"]) == (1, reason, err.strip())


def test_inspect_tells_what_a_model_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = str(small_model(tmp_path / "tiny"))
    code, out, _ = run("inspect", directory, capsys=capsys)
    assert code == 0
    assert "architecture  mlp (layers [2, 2], activation relu)" in out
    told = json.loads(run("inspect", directory, "--json", capsys=capsys)[1])
    assert (told["name"], told["parameters"]) == ("tiny", 6)
    assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]


def test_fetch_and_inspect_start_without_torch(tmp_path: Path) -> None:
    directory = str(small_model(tmp_path / "tiny"))
    for command in (["inspect", directory], ["fetch", f"file://{directory}", str(tmp_path / "to")]):
        check = f"import sys; from model_server.cli import main; sys.exit(main({command}) or 'torch' in sys.modules)"
        subprocess.run([sys.executable, "-c", check], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_the_command_line_is_parsed_before_numpy_starts_its_threads() -> None:
    check = "import sys; import model_server.cli; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_a_wrong_argument_is_told_in_the_termination_message_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log").touch()
    monkeypatch.setattr(report, "TERMINATION_LOG", tmp_path / "log")
    code, _, err = run("serve", ".", "--max-batch-delay", "soon", capsys=capsys)
    assert code == 2
    assert json.loads((tmp_path / "log").read_text()) == {"reason": "Invalid", "message": err.strip()}
    assert "'soon' is not a duration" in err


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ("0.1,0.1", "does not rise from above 0"),
        ("0,1", "does not rise from above 0"),
        ("nan", "does not rise from above 0"),
        ("1,inf", "does not rise from above 0"),
        (",".join(str(bound) for bound in range(1, 52)), "51 bounds are more than the 50"),
        ("fast", "invalid _buckets value: 'fast'"),
    ],
)
def test_bounds_of_histograms_must_rise(bounds: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run("serve", ".", "--latency-buckets", bounds, capsys=capsys)
    assert code == 2
    assert said in err


@pytest.mark.parametrize(
    ("flags", "seconds"),
    [
        ([], 20),
        (["--request-timeout=5m"], 300),
        (["--request-timeout=5m", "--drain-timeout=1s"], 1),
    ],
)
def test_a_request_that_may_take_long_may_do_so_at_the_end_too(flags: list[str], seconds: float) -> None:
    options = cli._parser().parse_args(["serve", "/model", *flags])
    assert cli._drain_timeout(options) == seconds


def test_an_unknown_way_to_explain_is_told_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run("serve", ".", "--explain", "Saliency,Guess", capsys=capsys)
    assert code == 2
    assert f"'Guess' is not a way to explain; it is one of {', '.join(Method)}" in err


@pytest.mark.parametrize("flag", ["--tls-cert", "--tls-key"])
def test_a_certificate_and_its_key_belong_together(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run("serve", ".", flag, "file", capsys=capsys)
    assert code == 1
    assert err == "--tls-cert and --tls-key belong together; give both, or neither.\n"


def test_outside_of_a_pod_nothing_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "TERMINATION_LOG", tmp_path / "none")
    assert report.default_path() is None
    report.write(None, {"a": 1})


def test_a_report_stays_json_within_what_the_kubelet_keeps(tmp_path: Path) -> None:
    report.write(tmp_path / "r", report.failure(ModelError(Reason.INVALID, "x" * 10_000)))
    text = (tmp_path / "r").read_bytes()
    assert len(text) < 4096
    assert json.loads(text)["reason"] == "Invalid"


def test_the_package_has_one_version() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "model-server/pyproject.toml").read_text())
    assert project["project"]["version"] == model_server.__version__
