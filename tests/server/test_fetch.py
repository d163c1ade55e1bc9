"""Fetching over https: from a server with a private authority, through redirects, faults and interruptions."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from model_server.artefact.digest import content_of
from model_server.errors import ModelError, Reason
from model_server.fetch import Options, fetch, parse_uri
from model_server.fetch.patience import Patience
from server.site import Site, archive, breaks_off, gives, in_turn
from server.support import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def options(site: Site, root: Path, pin: str | None = None, **changes: object) -> Options:
    made = {"max_bytes": 10_000_000, "patience": Patience(silence_seconds=1, attempts=3, first_pause_seconds=0.01)}
    return Options(directory=root / "to", pin=pin, ca_file=site.ca_file, source_mount=root, **{**made, **changes})  # type: ignore[arg-type]


def refusal(site: Site, root: Path, path: str = "/m.tgz", **changes: object) -> ModelError:
    with pytest.raises(ModelError) as caught:
        fetch(parse_uri(site.url(path)), options(site, root, **changes))  # type: ignore[arg-type]
    assert left(root / "to") == [], "nothing is left behind"
    return caught.value


def left(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if not path.is_dir()]


def test_an_archive_becomes_a_model_directory_with_its_digest(site: Site, tmp_path: Path) -> None:
    site.pages["/m.tgz"] = gives(archive(weights=b"1234", card=b"{}"))
    content = fetch(parse_uri(site.url("/m.tgz")), options(site, tmp_path))
    assert (tmp_path / "to/current/weights").read_bytes() == b"1234"
    assert (tmp_path / "to/digest").read_text().strip() == content.digest == content_of(tmp_path / "to/current").digest
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["current", "digest", "fetch-seconds"]


def test_a_single_file_becomes_a_directory_of_one(site: Site, tmp_path: Path) -> None:
    site.pages["/model.bin"] = gives(b"1234")
    fetch(parse_uri(site.url("/model.bin?token=1")), options(site, tmp_path))
    assert (tmp_path / "to/current/model.bin").read_bytes() == b"1234"
    assert site.asked == ["/model.bin?token=1"]


def test_a_restarted_pod_does_not_download_what_it_has(site: Site, tmp_path: Path) -> None:
    site.pages["/m.tgz"] = gives(archive(weights=b"1234"))
    pin = fetch(parse_uri(site.url("/m.tgz")), options(site, tmp_path)).digest
    assert fetch(parse_uri(site.url("/m.tgz")), options(site, tmp_path, pin)).digest == pin
    assert len(site.asked) == 1
    (tmp_path / "to/current/weights").write_bytes(b"damaged")
    assert fetch(parse_uri(site.url("/m.tgz")), options(site, tmp_path, pin)).digest == pin
    assert len(site.asked) == 2


def test_faults_that_may_pass_are_waited_out(site: Site, tmp_path: Path) -> None:
    whole = archive(weights=os.urandom(1000))
    for first in (gives(b"", 503), gives(b"", 429), hangs_up, breaks_off(whole)):
        site.pages["/m.tgz"] = in_turn(first, gives(whole))
        fetch(parse_uri(site.url("/m.tgz")), options(site, tmp_path))


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (gives(b"", 503), "in 3 attempts: the server answers 503 Service Unavailable"),
        (hangs_up, "in 3 attempts: Remote end closed connection"),
        (breaks_off(archive(weights=os.urandom(1000))), "in 3 attempts: the connection broke after"),
    ],
)
def test_a_server_that_stays_broken_is_unreachable(
    page: Callable[[BaseHTTPRequestHandler], None], said: str, site: Site, tmp_path: Path
) -> None:
    site.pages["/m.tgz"] = page
    error = refusal(site, tmp_path)
    assert error.reason is Reason.UNREACHABLE
    assert said in error.message
    assert len(site.asked) == 3


def test_a_server_that_falls_silent_is_unreachable(site: Site, tmp_path: Path) -> None:
    enough = threading.Event()
    site.pages["/m.tgz"] = lambda _: enough.wait(PATIENCE_SECONDS) and None
    patience = Patience(silence_seconds=0.2, attempts=2, first_pause_seconds=0.01)
    error = refusal(site, tmp_path, patience=patience)
    enough.set()
    assert (error.reason, "timed out" in error.message) == (Reason.UNREACHABLE, True)


@pytest.mark.parametrize(
    ("status", "reason"),
    [(404, Reason.NOT_FOUND), (410, Reason.NOT_FOUND), (401, Reason.REFUSED), (403, Reason.REFUSED)],
)
def test_a_server_that_says_no_is_asked_once(status: int, reason: Reason, site: Site, tmp_path: Path) -> None:
    site.pages["/m.tgz"] = gives(b"", status)
    error = refusal(site, tmp_path, "/m.tgz?signature=secret")
    assert error.reason is reason
    assert f"the server answers {status}" in error.message
    assert "secret" not in error.message
    assert len(site.asked) == 1


def test_redirects_are_followed_to_https_only(site: Site, tmp_path: Path) -> None:
    site.pages["/real.tgz"] = gives(archive(weights=b"1"))
    site.pages["/m.tgz"] = gives(b"", 302, Location="/real.tgz")
    fetch(parse_uri(site.url("/m.tgz")), options(site, tmp_path / "a"))
    for target in ("http://127.0.0.1:1/m.tgz", "file:///etc/passwd", "ftp://127.0.0.1/m"):
        site.pages["/m.tgz"] = gives(b"", 302, Location=target)
        error = refusal(site, tmp_path / "b")
        assert (error.reason, "to no https address" in error.message) == (Reason.REFUSED, True)
    site.pages["/m.tgz"] = gives(b"", 302, Location="/m.tgz")
    assert refusal(site, tmp_path / "b").reason is Reason.REFUSED


def test_a_certificate_that_the_authority_did_not_sign_is_not_trusted(site: Site, tmp_path: Path) -> None:
    site.pages["/m.tgz"] = gives(archive(weights=b"1"))
    with pytest.raises(ModelError, match="certificate that is not trusted") as caught:
        fetch(parse_uri(site.url("/m.tgz")), Options(**{**vars_of(options(site, tmp_path)), "ca_file": None}))
    assert caught.value.reason is Reason.UNREACHABLE
    assert site.asked == []


def vars_of(made: Options) -> dict[str, object]:
    return {name: getattr(made, name) for name in made.__slots__}


def test_a_ca_file_that_is_none_is_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("no certificate")
    for path in (tmp_path / "ca", tmp_path / "none"):
        with pytest.raises(ModelError, match=f"The CA file {path} cannot be read"):
            fetch(parse_uri(site.url("/m.tgz")), Options(**{**vars_of(options(site, tmp_path)), "ca_file": path}))


def test_more_bytes_than_allowed_are_not_taken(site: Site, tmp_path: Path) -> None:
    noise = os.urandom(5000)
    site.pages["/m.tgz"] = gives(archive(weights=noise))
    assert "larger than the 1000 bytes" in refusal(site, tmp_path, max_bytes=1000).message

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(noise)

    site.pages["/m.tgz"] = endless
    assert "larger than" in refusal(site, tmp_path).message


def test_a_digest_mismatch_leaves_what_was_there(site: Site, tmp_path: Path) -> None:
    site.pages["/m.tgz"] = gives(archive(weights=b"old"))
    old = fetch(parse_uri(site.url("/m.tgz")), options(site, tmp_path)).digest
    site.pages["/m.tgz"] = gives(archive(weights=b"new"))
    pin = "sha256:" + "0" * 64
    with pytest.raises(ModelError, match=pin) as caught:
        fetch(parse_uri(site.url("/m.tgz")), options(site, tmp_path, pin))
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    assert (tmp_path / "to/current/weights").read_bytes() == b"old"
    assert (tmp_path / "to/digest").read_text().strip() == old


def test_the_command_reports_success_as_one_line(site: Site, tmp_path: Path) -> None:
    site.pages["/m.tgz"] = gives(archive(weights=b"1234"))
    run = command(site, tmp_path)
    _, err = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 0, err
    digest = content_of(tmp_path / "to/current").digest
    assert json.loads((tmp_path / "report").read_text()) == {"digest": digest, "files": 1, "bytes": 4}


def test_an_interrupted_command_leaves_nothing(site: Site, tmp_path: Path) -> None:
    begun, enough = threading.Event(), threading.Event()

    def stalls(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        handler.wfile.write(b"x" * 1000)
        begun.set()
        enough.wait(PATIENCE_SECONDS)

    site.pages["/m.tgz"] = stalls
    run = command(site, tmp_path)
    assert begun.wait(PATIENCE_SECONDS)
    run.terminate()
    run.communicate(timeout=PATIENCE_SECONDS)
    enough.set()
    assert run.returncode == 143
    assert left(tmp_path / "to") == []


def command(site: Site, root: Path) -> subprocess.Popen[str]:
    where = [str(root / "to"), "--ca-file", str(site.ca_file), "--report", str(root / "report")]
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "model_server", "fetch", site.url("/m.tgz"), *where],
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
