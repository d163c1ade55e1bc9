"""Fetching from a real S3 server: whole models, in parts, past faults and crashes, and no byte twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from model_server.artefact.digest import content_of
from model_server.errors import ModelError, Reason
from model_server.fetch import Options, fetch, parse_uri, transfer
from model_server.fetch.patience import Patience
from server.s3 import ACCESS_KEY, SECRET_KEY, Store, open_store
from server.site import archive
from server.support import PATIENCE_SECONDS
from spoiler import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PART = 64 * 1024
MODEL = {
    "nlp/3/model.json": b"{}",
    "nlp/3/weights": os.urandom(3 * PART + 1000),
    "nlp/3/more/tokens": b"",
    "nlp/33/other": b"1",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("store")) as store:
        store.put("models", MODEL)
        yield store


@pytest.fixture
def store(running: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The server as a fetch container meets it, and as if nobody had asked yet; parts are small."""
    running.meet(monkeypatch)
    monkeypatch.setattr(transfer, "PART_BYTES", PART)
    return running


def options(root: Path, pin: str | None = None, **changes: object) -> Options:
    patience = Patience(silence_seconds=PATIENCE_SECONDS, attempts=3, first_pause_seconds=0.01)
    made = Options(directory=root / "to", pin=pin, ca_file=None, source_mount=root, max_bytes=10**9, patience=patience)
    return replace(made, **changes)  # type: ignore[arg-type]


def refusal(root: Path, uri: str = "s3://models/nlp/3", **changes: object) -> ModelError:
    with pytest.raises(ModelError) as caught:
        fetch(parse_uri(uri), options(root, **changes))  # type: ignore[arg-type]
    assert not (root / "to/digest").exists()
    assert not (root / "to/current").exists()
    assert SECRET_KEY not in caught.value.message
    return caught.value


def is_model(directory: Path) -> bool:
    return all((directory / key.removeprefix("nlp/3/")).read_bytes() == MODEL[key] for key in MODEL if "/3/" in key)


def test_all_below_a_prefix_becomes_a_model_directory(store: Store, tmp_path: Path) -> None:
    content = fetch(parse_uri("s3://models/nlp/3/"), options(tmp_path))
    assert is_model(tmp_path / "to/current")
    assert content == content_of(tmp_path / "to/current")
    assert content.files == 3
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["current", "digest", "fetch-seconds"]
    assert len(store.gets()) == 5, "four parts of the weights, the card, and nothing of the empty file"


def test_a_key_names_one_object_which_may_be_an_archive(store: Store, tmp_path: Path) -> None:
    store.put("single", {"a/m.tar.gz": archive(weights=b"1234", card=b"{}"), "top.bin": b"1"})
    fetch(parse_uri("s3://single/a/m.tar.gz"), options(tmp_path / "a"))
    assert (tmp_path / "a/to/current/weights").read_bytes() == b"1234"
    fetch(parse_uri("s3://single/top.bin"), options(tmp_path / "b"))
    assert (tmp_path / "b/to/current/top.bin").read_bytes() == b"1"


def test_a_bucket_may_be_the_model(store: Store, tmp_path: Path) -> None:
    store.put("whole", {"weights": b"1", "folder/": b""})
    assert fetch(parse_uri("s3://whole"), options(tmp_path)).files == 1


@pytest.mark.usefixtures("store")
def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    missing = refusal(tmp_path, "s3://models/nlp/4")
    assert (missing.reason, "nothing has that key or is below it" in missing.message) == (Reason.NOT_FOUND, True)
    nowhere = refusal(tmp_path, "s3://elsewhere/nlp")
    assert (nowhere.reason, "there is no bucket elsewhere" in nowhere.message) == (Reason.NOT_FOUND, True)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"AWS_SECRET_ACCESS_KEY": "wrong"},
            "the credentials are not valid; correct the Secret .*403 SignatureDoesNotMatch",
        ),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "the credentials are not valid; correct the Secret .*403 InvalidAccessKeyId"),
        (
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
            "who shows no credentials; name the Secret .*403 AccessDenied",
        ),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "Partial credentials .*AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ENDPOINT_URL": "nonsense"}, "Invalid endpoint: nonsense. Look at the variables AWS_"),
    ],
)
def test_credentials_that_do_not_open_the_store_are_told_apart(
    keys: dict[str, str], said: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    assert re.search(said, refusal(tmp_path).message)
    assert len(store.proxy.asked) <= 1, "no store is asked again what it has refused"


def test_a_public_bucket_needs_no_credentials(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("public", {"m/weights": b"1"})
    everybody = """{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*",
      "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::public", "arn:aws:s3:::public/*"]}]}"""
    store.client.put_bucket_policy(Bucket="public", Policy=everybody)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert fetch(parse_uri("s3://public/m"), options(tmp_path)).files == 1


def test_a_broken_connection_goes_on_at_the_byte_where_it_broke(store: Store, tmp_path: Path) -> None:
    store.put("steps", {"m/weights": os.urandom(5000)})
    ends = (1000, 2000, 3000, 4000)  # more than are borne in a row without a byte
    store.proxy.spoil(*(Fault("weights", "cut", at=end, times=1) for end in ends))
    fetch(parse_uri("s3://steps/m"), options(tmp_path))
    assert [asked.rpartition("=")[2] for asked in store.gets()] == [f"{start}-4999" for start in (0, *ends)]


def test_a_connection_that_always_breaks_is_given_up(store: Store, tmp_path: Path) -> None:
    store.proxy.spoil(Fault("weights", "cut", at=0))
    error = refusal(tmp_path)
    assert error.reason is Reason.UNREACHABLE
    said = r"could not be downloaded in 3 attempts: the connection broke after \d+ of 197608 bytes of weights"
    assert re.search(said, error.message)
    store.proxy.spoil()
    fetch(parse_uri("s3://models/nlp/3"), options(tmp_path))
    assert is_model(tmp_path / "to/current")


def test_a_store_that_is_down_is_asked_again(store: Store, tmp_path: Path) -> None:
    store.proxy.spoil(Fault("", "503", times=2))
    fetch(parse_uri("s3://models/nlp/3"), options(tmp_path))
    store.proxy.spoil(Fault("", "503"))
    assert "in 3 attempts: " in refusal(tmp_path / "again").message


def test_nobody_at_the_address_is_unreachable(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    error = refusal(tmp_path)
    assert (error.reason, "Could not connect" in error.message) == (Reason.UNREACHABLE, True)
    assert store.proxy.asked == []


def test_a_fetch_that_is_killed_leaves_what_the_next_one_goes_on_with(store: Store, tmp_path: Path) -> None:
    parts = 2
    whole = os.urandom(parts * 16 * 1024 * 1024)
    store.put("large", {"m/weights": whole})
    store.proxy.spoil(Fault("weights", "hold", at=16 * 1024 * 1024 - 1, times=1))  # one of the two never ends
    run = command("s3://large/m", tmp_path)
    assert store.proxy.reached.wait(PATIENCE_SECONDS)
    record = tmp_path / "to/.downloads/partial"
    while not [line for done in record.glob("*/done") for line in done.read_text().splitlines()]:
        assert run.poll() is None, run.communicate()
    run.kill()
    run.communicate(timeout=PATIENCE_SECONDS)
    assert not (tmp_path / "to/current").exists()
    store.proxy.spoil()
    store.proxy.asked.clear()
    again = command("s3://large/m", tmp_path)
    _, said = again.communicate(timeout=PATIENCE_SECONDS)
    assert again.returncode == 0, said
    assert "going on with 1 of 2 parts" in said
    assert (tmp_path / "to/current/weights").read_bytes() == whole
    assert len(store.gets()) == 1


def test_a_crash_between_two_steps_of_keeping_a_download_costs_no_more_than_another(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        sys.exit(143)

    for step in ("reach_the_disk", "publish"):  # before the model is in its place, and before it is noted what it was
        with monkeypatch.context() as patched:
            patched.setattr(f"model_server.fetch.cache.{step}", crash)
            with pytest.raises(SystemExit):
                fetch(parse_uri("s3://models/nlp/3"), options(tmp_path))
    fetch(parse_uri("s3://models/nlp/3"), options(tmp_path))
    assert is_model(tmp_path / "to/current")
    assert len(store.gets()) == 10


def test_a_fetch_that_is_asked_to_end_does_so_at_once(store: Store, tmp_path: Path) -> None:
    store.proxy.spoil(Fault("weights", "hold", at=10))
    run = command("s3://models/nlp/3", tmp_path)
    assert store.proxy.reached.wait(PATIENCE_SECONDS)
    run.send_signal(signal.SIGTERM)
    _, said = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 143, said
    assert SECRET_KEY not in said
    assert not (tmp_path / "to/current").exists()


def command(uri: str, root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "model_server", "fetch", uri, str(root / "to")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
    )


def test_bytes_that_changed_on_the_way_are_not_used_and_come_anew(store: Store, tmp_path: Path) -> None:
    store.proxy.spoil(Fault("weights", "flip", at=5, times=1))
    error = refusal(tmp_path)
    assert error.reason is Reason.DIGEST_MISMATCH
    assert "weights has another checksum" in error.message
    fetch(parse_uri("s3://models/nlp/3"), options(tmp_path))
    assert is_model(tmp_path / "to/current")


def test_the_pin_covers_what_the_store_has_no_checksum_of(store: Store, tmp_path: Path) -> None:
    store.put("in-parts", {})
    store.put_in_parts("in-parts", "m/weights", [bytes(5 * 1024 * 1024), b"the end"])
    pin = fetch(parse_uri("s3://in-parts/m"), options(tmp_path / "good")).digest
    store.proxy.spoil(Fault("weights", "flip", at=5, times=1))
    error = refusal(tmp_path, "s3://in-parts/m", pin=pin)
    assert error.reason is Reason.DIGEST_MISMATCH
    assert pin in error.message
    assert fetch(parse_uri("s3://in-parts/m"), options(tmp_path, pin)).digest == pin


def test_an_object_that_changes_meanwhile_is_not_mixed(store: Store, tmp_path: Path) -> None:
    store.put("changing", {"m/weights": os.urandom(20 * PART)})
    store.proxy.spoil(Fault("weights", "hold", at=0, times=transfer.THREADS))
    error: list[ModelError] = []
    asking = threading.Thread(target=lambda: error.append(refusal(tmp_path, "s3://changing/m")))
    asking.start()
    assert store.proxy.reached.wait(PATIENCE_SECONDS)
    store.put("changing", {"m/weights": b"other"})
    store.proxy.spoil()
    asking.join()
    assert "changed while it was downloaded" in error[0].message
    fetch(parse_uri("s3://changing/m"), options(tmp_path))
    assert (tmp_path / "to/current/weights").read_bytes() == b"other"


@pytest.mark.usefixtures("store")
def test_more_than_allowed_is_not_begun(tmp_path: Path) -> None:
    assert "more than the 1000 that --max-bytes allows" in refusal(tmp_path, max_bytes=1000).message


def test_a_disk_that_is_full_is_told_and_nothing_is_left_on_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        error = refusal(tmp_path)
    assert error.reason is Reason.NO_SPACE
    assert f"The volume at {tmp_path}/to is full" in error.message
    assert [path for path in (tmp_path / "to").rglob("*") if path.is_file()] == []
    fetch(parse_uri("s3://models/nlp/3"), options(tmp_path))
    assert store.gets()


# -- the cache


def test_another_service_finds_in_the_cache_what_one_has_brought(store: Store, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = fetch(parse_uri("s3://models/nlp/3"), options(tmp_path / "a", cache=cache))
    assert is_model(tmp_path / "a/to/current")
    store.proxy.asked.clear()
    second = fetch(parse_uri("s3://models/nlp/3"), options(tmp_path / "b", cache=cache))
    assert is_model(tmp_path / "b/to/current")
    assert second == first
    assert len(store.proxy.asked) == 1, "what there is is listed"
    store.proxy.asked.clear()
    fetch(parse_uri("s3://models/nlp/3"), options(tmp_path / "c", first.digest, cache=cache))
    assert store.proxy.asked == [], "a pinned model is known without asking"


def test_pods_that_start_together_download_once(store: Store, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    store.proxy.spoil(Fault("weights", "hold", at=10, times=1))
    pods = [
        threading.Thread(
            target=fetch, args=(parse_uri("s3://models/nlp/3"), options(tmp_path / str(number), cache=cache))
        )
        for number in range(3)
    ]
    for pod in pods:
        pod.start()
    assert store.proxy.reached.wait(PATIENCE_SECONDS)
    store.proxy.spoil()
    for pod in pods:
        pod.join()
    assert all(is_model(tmp_path / str(number) / "to/current") for number in range(3))
    assert len(store.gets()) == 5
    assert [path.name for path in (cache / "partial").iterdir()] == []


def test_a_damaged_model_in_the_cache_is_brought_anew(store: Store, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    digest = fetch(parse_uri("s3://models/nlp/3"), options(tmp_path / "a", cache=cache)).digest
    (cache / "models" / digest.replace(":", "-") / "weights").write_bytes(b"damaged")
    fetch(parse_uri("s3://models/nlp/3"), options(tmp_path / "b", digest, cache=cache))
    assert is_model(tmp_path / "b/to/current")
    assert len(store.gets()) == 10


def test_a_pod_whose_model_was_cleared_from_the_cache_fetches_it_again(store: Store, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    digest = fetch(parse_uri("s3://models/nlp/3"), options(tmp_path, cache=cache)).digest
    for file in (cache / "models").rglob("*"):
        if file.is_file():
            file.unlink()
    fetch(parse_uri("s3://models/nlp/3"), options(tmp_path, digest, cache=cache))
    assert is_model(tmp_path / "to/current")
    assert len(store.gets()) == 10


def test_what_is_in_the_cache_is_no_reason_to_take_another_content(store: Store, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    fetch(parse_uri("s3://models/nlp/3"), options(tmp_path / "a", cache=cache))
    pin = "sha256:" + "0" * 64
    error = refusal(tmp_path / "b", cache=cache, pin=pin)
    assert error.reason is Reason.DIGEST_MISMATCH
    assert len(store.gets()) == 10, "the store may have told something else this time"


# -- TLS


def test_a_store_over_tls_is_trusted_by_its_authority(
    certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = (f"--cert={certificates}/site.crt", f"--key={certificates}/site.key")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    with open_store(tmp_path, *tls, ca_file=certificates / "ca.crt") as store:
        store.put("models", MODEL)
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.url)
        fetch(parse_uri("s3://models/nlp/3"), options(tmp_path / "a", ca_file=certificates / "ca.crt"))
        assert is_model(tmp_path / "a/to/current")
        assert "certificate is not trusted" in refusal(tmp_path / "b").message
        (tmp_path / "none").write_text("no certificate")
        error = refusal(tmp_path / "c", ca_file=tmp_path / "none")
        assert "cannot be read as PEM certificates" in error.message
