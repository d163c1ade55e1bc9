"""What is handed on is proven, described and signed; what was changed since, or signed by others, is refused."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from model_server import cli
from model_server.artefact.card import read_card
from model_server.artefact.digest import content_of
from model_server.artefact.signature import SIGNATURE, hold_signature
from model_server.errors import ModelError, Reason
from model_server.fetch import Options as FetchOptions
from model_server.fetch import fetch, parse_uri
from model_server.model import load
from model_server.package import Options, package
from model_server.train import Options as Training
from model_server.train import synthetic_table, train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EVALUATION = {"digest": "sha256:" + "1" * 64, "rows": 20, "failed": 0, "metrics": {"mse": "0.25"}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options: Any = {"activation": "relu", "loss": "MeanSquaredError", "optimizer": "Adam", "learning_rate": 0.1}
    out = tmp_path_factory.mktemp("trained") / "small"
    train(synthetic_table(3, 2, 20, 0), Training(hidden=(4,), epochs=2, batch_size=None, seed=0, **options), out)
    return out


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two key pairs: folders of one public key each, and the private ones beside them."""
    place = tmp_path_factory.mktemp("keys")
    for name in ("team-a", "team-b"):
        private, public = place / f"{name}.pem", place / name / f"{name}.pub"
        public.parent.mkdir()
        how = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        subprocess.run(["openssl", "genpkey", *how, "-out", private], check=True, capture_output=True)
        subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return place


@pytest.fixture
def signed(trained: Path, keys: Path, tmp_path: Path) -> Path:
    out = tmp_path / "signed"
    package(trained, out, Options(sign_key=keys / "team-a.pem"))
    return out


def test_a_package_tells_what_the_model_is_and_how_good_it_is(trained: Path, tmp_path: Path) -> None:
    evaluation = tmp_path / "evaluation.json"
    evaluation.write_text(json.dumps(EVALUATION))
    told = package(trained, tmp_path / "out", Options(description="Finds a map.", evaluation=evaluation))
    assert told == {"digest": content_of(tmp_path / "out").digest, "files": 4, "bytes": told["bytes"], "signed": False}
    card = read_card(tmp_path / "out")
    assert (card.description, card.evaluation) == ("Finds a map.", EVALUATION)
    assert card.training == read_card(trained).training
    page = (tmp_path / "out/README.md").read_text()
    assert "Finds a map." in page
    assert "| metrics | mse 0.25 |" in page
    assert "| x | FP32 | -1, 3 |" in page
    assert load(tmp_path / "out").digest == told["digest"]
    again = package(tmp_path / "out", tmp_path / "again/out", Options())
    assert again["digest"] == told["digest"]  # what is there is kept


def test_an_archive_of_the_same_has_the_same_bytes_and_can_be_fetched(trained: Path, tmp_path: Path) -> None:
    archives = [tmp_path / f"{name}.tar.gz" for name in ("one", "two")]
    told, _ = (package(trained, archive, Options()) for archive in archives)
    assert archives[0].read_bytes() == archives[1].read_bytes()
    subprocess.run(["tar", "--extract", f"--file={archives[0]}", f"--directory={tmp_path}"], check=True)
    archives[0].unlink()
    archives[1].unlink()
    assert content_of(tmp_path).digest == told["digest"]


def test_golden_examples_are_made_where_there_are_none(trained: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    package(trained, bare, Options())
    (bare / "golden.npz").unlink()
    with pytest.raises(ModelError, match=r"bare lacks golden\.npz"):
        package(bare, tmp_path / "out", Options())
    np.savez(tmp_path / "rows.npz", x=np.arange(60, dtype=np.float64).reshape(20, 3))
    package(bare, tmp_path / "out", Options(examples=tmp_path / "rows.npz"))
    with np.load(tmp_path / "out/golden.npz") as golden:
        assert golden["inputs.x"].shape == (8, 3)
        assert np.array_equal(golden["outputs.y"], load(bare).forward((golden["inputs.x"],))[0])


def test_a_model_that_does_not_answer_its_golden_examples_is_not_handed_on(trained: Path, tmp_path: Path) -> None:
    package(trained, tmp_path / "wrong", Options())
    x = np.ones((1, 3), np.float32)
    np.savez(tmp_path / "wrong/golden.npz", **{"inputs.x": x, "outputs.y": x[:, :2]})  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="does not give its golden outputs"):
        package(tmp_path / "wrong", tmp_path / "out", Options())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"metrics": 1}'])
def test_figures_that_are_none_are_refused(text: str, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text(text)
    with pytest.raises(ModelError, match=r"e\.json holds no"):
        package(trained, tmp_path / "out", Options(evaluation=tmp_path / "e.json"))


# -- who vouches for it


def test_who_is_trusted_is_believed(
    signed: Path, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hold_signature(signed, keys / "team-a") == "team-a.pub"
    assert load(signed)
    content = fetch(parse_uri(f"file://{signed}"), fetching(tmp_path / "to", keys / "team-a"))
    assert content.digest == content_of(signed).digest
    assert cli.main(["inspect", str(signed), "--trusted-keys", str(keys / "team-a"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["is_signed"], told["signed_with"]) == (True, "team-a.pub")
    both = tmp_path / "both"
    both.mkdir()
    for name in ("team-a", "team-b"):
        (both / f"{name}.pub").write_bytes((keys / name / f"{name}.pub").read_bytes())
    assert hold_signature(signed, both) == "team-a.pub"


def change(name: str, how: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda signed: (signed / name).write_bytes(how((signed / name).read_bytes()))


WEIGHTS = "weights.safetensors"
NOT_SIGNED_SO = "The model was signed with team-a.pub, but is not what was signed: "
BROKEN = r"The signature of the model, model.sig, is wrong \(team-a.pub: "


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (change(WEIGHTS, lambda data: data[:-1] + bytes([data[-1] ^ 1])), f"{NOT_SIGNED_SO}{WEIGHTS} has changed.$"),
        (change(WEIGHTS, lambda data: data[:-4]), f"{NOT_SIGNED_SO}{WEIGHTS} is cut off.$"),
        (change(WEIGHTS, lambda data: data[:40]), f"{NOT_SIGNED_SO}{WEIGHTS} is cut off.$"),
        (change(WEIGHTS, lambda data: data[:8] + b"?" + data[9:]), f"{NOT_SIGNED_SO}{WEIGHTS} has changed.$"),
        (change(WEIGHTS, lambda data: b"\xff" * 8 + data[8:]), f"{NOT_SIGNED_SO}{WEIGHTS} is cut off.$"),
        (change(WEIGHTS, lambda _data: (2).to_bytes(8, "little") + b"[]"), f"{NOT_SIGNED_SO}{WEIGHTS} has changed.$"),
        (lambda signed: (signed / "golden.npz").unlink(), f"{NOT_SIGNED_SO}golden.npz is missing.$"),
        (lambda signed: (signed / "more").touch(), f"{NOT_SIGNED_SO}more has come in addition.$"),
        (lambda signed: (signed / ".gitignore").touch(), f"{NOT_SIGNED_SO}.gitignore has come in addition.$"),
        (lambda signed: (signed / SIGNATURE).unlink(), "The model is not signed: it lacks model.sig"),
        (change(SIGNATURE, lambda data: data[:-20]), BROKEN),
        (change(SIGNATURE, lambda _data: b"{}"), BROKEN),
        (change(SIGNATURE, lambda data: data.replace(b'"sig":"M', b'"sig":"N')), BROKEN),
    ],
)
def test_what_is_not_as_it_was_signed_is_never_served(
    harm: Callable[[Path], object], said: str, signed: Path, keys: Path, tmp_path: Path
) -> None:
    harm(signed)
    with pytest.raises(ModelError, match=said) as caught:
        fetch(parse_uri(f"file://{signed}"), fetching(tmp_path / "to", keys / "team-a"))
    assert caught.value.reason is Reason.NOT_TRUSTED
    assert not (tmp_path / "to/current").exists()
    assert not (tmp_path / "to/digest").exists()


def test_who_is_not_trusted_is_not_believed(signed: Path, keys: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"signed with a key that is not trusted; trusted are: team-b\.pub\.$"):
        hold_signature(signed, keys / "team-b")
    with pytest.raises(ModelError, match="no public key in") as caught:
        hold_signature(signed, tmp_path / "nothing")
    assert caught.value.reason is Reason.CONFIG_MISSING
    (tmp_path / "no-key.pub").write_text("nonsense")
    with pytest.raises(ModelError, match=r"no-key.pub is not a public key in PEM"):
        hold_signature(signed, tmp_path)


def test_who_may_write_to_a_claim_changes_nothing_behind_the_signature(
    signed: Path, keys: Path, tmp_path: Path
) -> None:
    content = fetch(parse_uri(f"file://{signed}"), fetching(tmp_path / "to", keys / "team-a"))
    (signed / "weights.safetensors").write_bytes(b"something else")
    assert content_of(tmp_path / "to/current") == content
    assert load(tmp_path / "to/current").digest == content.digest


def test_keys_may_come_in_the_environment_and_go_before_those_of_the_flag(
    signed: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetched(signer: str) -> int:
        known = {signer: (keys / signer / f"{signer}.pub").read_text()}
        monkeypatch.setenv("MODEL_TRUSTED_KEYS", json.dumps(known))
        return cli.main(["fetch", f"file://{signed}", str(tmp_path / signer), f"--trusted-keys={keys}/team-a"])

    assert fetched("team-a") == 0
    assert fetched("team-b") == 1
    assert "signed with a key that is not trusted; trusted are: team-b." in capsys.readouterr().err
    assert not (tmp_path / "team-b/current").exists()


def test_a_public_key_signs_nothing(trained: Path, keys: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"team-a.pub holds no private key to sign with: .*; openssl genpkey"):
        package(trained, tmp_path / "out", Options(sign_key=keys / "team-a/team-a.pub"))


def test_the_command_writes_and_tells(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["package", str(trained), f"--out={tmp_path}/out", "--description=Small."]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["digest"] == content_of(tmp_path / "out").digest


def fetching(directory: Path, trusted_keys: Path) -> FetchOptions:
    return FetchOptions(
        directory=directory, pin=None, ca_file=None, source_mount=directory, max_bytes=10**6, trusted_keys=trusted_keys
    )
