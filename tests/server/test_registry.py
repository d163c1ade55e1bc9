"""Models as artefacts in a real registry: pushed, fetched, never mistaken for another, never for who may not."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from model_server.artefact.digest import content_of
from model_server.errors import ModelError, Reason
from model_server.fetch import Options, fetch, parse_uri, transfer
from model_server.fetch.patience import Patience
from model_server.push import Options as PushOptions
from model_server.push import push
from server.registry import PASSWORD, Registry, Tokens, docker, open_registry, passwords
from server.support import PATIENCE_SECONDS, ask, mlp_directory
from spoiler import Fault, Spoiler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from server.site import Site

PART = 64 * 1024
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
PATIENCE = Patience(silence_seconds=PATIENCE_SECONDS, attempts=3, first_pause_seconds=0.01)


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody's credentials, and small parts."""
    monkeypatch.delenv("DOCKER_AUTH_CONFIG", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-docker"))
    monkeypatch.setattr(transfer, "PART_BYTES", PART)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Open to all, without TLS."""
    with open_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = mlp_directory(tmp_path / "model", 4, 3)
    (directory / "more").mkdir()
    (directory / "more/tokens").write_bytes(os.urandom(3 * PART + 1000))
    (directory / "empty").touch()
    return directory


def put(model: Path, uri: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    made = PushOptions(source_mount=model, plain_http=True, patience=replace(PATIENCE, what="uploaded"))
    return push(model, uri, replace(made, **changes))


def get(root: Path, uri: str, **changes: Any) -> Path:  # noqa: ANN401
    made = Options(
        directory=root, pin=None, ca_file=None, source_mount=root, max_bytes=10**9, plain_http=True, patience=PATIENCE
    )
    fetch(parse_uri(uri), replace(made, **changes))
    return root / "current"


def manifest_of(registry: Registry, repository: str, reference: str) -> dict[str, Any]:
    path = f"/v2/{repository}/manifests/{reference}"
    return dict(ask(registry.port, "GET", path, headers={"Accept": MANIFEST}).json)


def test_what_is_pushed_is_fetched_by_tag_and_by_the_digest_that_push_tells(
    registry: Registry, model: Path, tmp_path: Path
) -> None:
    told = put(model, f"oci://{registry.host}/team/both:1")
    assert told["changed"]
    assert re.fullmatch(rf"oci://{registry.host}/team/both@sha256:[0-9a-f]{{64}}", told["uri"])
    for name, uri in (("tag", f"oci://{registry.host}/team/both:1"), ("digest", told["uri"])):
        assert content_of(get(tmp_path / name, uri)).digest == told["digest"] == content_of(model).digest


def test_the_same_model_is_pushed_once_and_another_one_over_it_on_request_only(
    registry: Registry, model: Path, tmp_path: Path
) -> None:
    uri = f"oci://{registry.host}/once:1"
    first = put(model, uri)
    assert put(model, uri) == first | {"changed": False}
    (model / "empty").write_text("no more")
    with pytest.raises(ModelError, match=r"once:1 is taken: the tag is of sha256:.*--force"):
        put(model, uri)
    assert content_of(get(tmp_path / "before", uri)).digest == first["digest"]
    second = put(model, uri, force=True)
    assert second["digest"] != first["digest"]
    assert content_of(get(tmp_path / "after", uri)).digest == second["digest"]
    assert content_of(get(tmp_path / "pinned", first["uri"])).digest == first["digest"], "a digest stays what it was"


def test_the_manifest_is_one_of_an_artefact_as_other_tools_read_it(registry: Registry, model: Path) -> None:
    told = put(model, f"oci://{registry.host}/read:1")
    manifest = manifest_of(registry, "read", told["uri"].partition("@")[2])
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    titles = [layer["annotations"]["org.opencontainers.image.title"] for layer in manifest["layers"]]
    assert titles == ["empty", "model.json", "more/tokens", "weights.safetensors"]
    kinds = [layer["mediaType"].removeprefix("application/vnd.cncf.model.") for layer in manifest["layers"]]
    assert kinds == ["weight.config.v1.raw", "weight.config.v1.raw", "weight.config.v1.raw", "weight.v1.raw"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("none:1", "none:1 does not exist: .* answers 404 (NAME|MANIFEST)_UNKNOWN"),
        ("here:none", "here:none does not exist: .* 404 MANIFEST_UNKNOWN"),
        (f"here@sha256:{64 * 'a'}", "here@sha256:a.* does not exist: .* 404 MANIFEST_UNKNOWN"),
    ],
)
def test_what_is_not_there_is_named(path: str, said: str, registry: Registry, model: Path, tmp_path: Path) -> None:
    put(model, f"oci://{registry.host}/here:1", force=True)
    with pytest.raises(ModelError, match=said) as caught:
        get(tmp_path / "to", f"oci://{registry.host}/{path}")
    assert caught.value.reason is Reason.NOT_FOUND


def test_an_image_is_no_model(registry: Registry, tmp_path: Path, model: Path) -> None:
    put(model, f"oci://{registry.host}/image:files")
    manifest = manifest_of(registry, "image", "files")
    for layer in manifest["layers"]:
        layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip"
        del layer["annotations"]
    body, kind = json.dumps(manifest).encode(), {"Content-Type": MANIFEST}
    assert ask(registry.port, "PUT", "/v2/image/manifests/layers", body=body, headers=kind).status == 201
    with pytest.raises(ModelError, match=r"image:layers is no artefact of files: its layer .*\+gzip\) is not a file"):
        get(tmp_path / "to", f"oci://{registry.host}/image:layers")


@pytest.fixture
def proxy(registry: Registry) -> Iterator[tuple[Spoiler, str]]:
    """A way to the registry that can be spoiled."""
    spoiler = Spoiler(registry.port)
    with spoiler.server(("127.0.0.1", 0)) as front:
        thread = threading.Thread(target=front.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield spoiler, f"127.0.0.1:{front.server_address[1]}"
        finally:
            spoiler.spoil()
            front.shutdown()
            thread.join()


def test_bytes_that_are_not_those_of_the_digest_are_not_used(
    registry: Registry, proxy: tuple[Spoiler, str], model: Path, tmp_path: Path
) -> None:
    spoiler, host = proxy
    digest = put(model, f"oci://{registry.host}/spoiled:1")["uri"].partition("@")[2]
    spoiler.spoil(Fault(digest, "flip", at=20))
    with pytest.raises(ModelError, match="the registry's manifest has another digest") as caught:
        get(tmp_path / "to", f"oci://{host}/spoiled@{digest}")
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    spoiler.spoil(Fault("", "flip", at=3 * PART + 10))  # in the last part of the one large file
    with pytest.raises(ModelError, match="more/tokens has another checksum") as caught:
        get(tmp_path / "to", f"oci://{host}/spoiled@{digest}")
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    assert not (tmp_path / "to/current").exists()
    spoiler.spoil()
    assert content_of(get(tmp_path / "to", f"oci://{host}/spoiled@{digest}")) == content_of(model)


def test_a_broken_connection_goes_on_at_the_byte_where_it_broke(
    registry: Registry, proxy: tuple[Spoiler, str], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PART_BYTES", 10 * PART)  # of several parts at once any might be the one that is cut
    spoiler, host = proxy
    put(model, f"oci://{registry.host}/cut:1")
    large = hashlib.sha256((model / "more/tokens").read_bytes()).hexdigest()
    spoiler.spoil(Fault(large, "cut", at=PART + 1000, times=1))
    assert content_of(get(tmp_path / "to", f"oci://{host}/cut:1")) == content_of(model)
    assert any(asked.endswith(f"bytes={PART + 1000}-{3 * PART + 999}") for asked in spoiler.asked), spoiler.asked


def test_without_being_asked_nothing_goes_over_plain_http(registry: Registry, model: Path, tmp_path: Path) -> None:
    uri = f"oci://{registry.host}/plain:1"
    for act in (lambda: put(model, uri, plain_http=False), lambda: get(tmp_path / "to", uri, plain_http=False)):
        with pytest.raises(ModelError, match="in 3 attempts") as caught:
            act()
        assert caught.value.reason is Reason.UNREACHABLE


@pytest.mark.parametrize("way", ["password", "token"])
def test_who_may_not_is_told_so_and_who_may_pushes_and_fetches(
    way: str, site: Site, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "registry"
    folder.mkdir()
    tokens = Tokens(folder, site.url("/token"))
    site.pages["/token"] = tokens.page
    auth = tokens.auth if way == "token" else passwords(folder)
    with open_registry(folder, site.ca_file.parent, auth) as registry:
        uri = f"oci://{registry.host}/team/secret:1"
        secured: dict[str, Any] = {"plain_http": False, "ca_file": site.ca_file}
        said = "is refused to who shows no credentials: .* answers 401.*credentialsSecretRef"
        with pytest.raises(ModelError, match=said) as caught:
            put(model, uri, **secured)
        assert caught.value.reason is Reason.REFUSED
        monkeypatch.setenv("DOCKER_AUTH_CONFIG", docker(registry.host, "wrong"))
        with pytest.raises(ModelError, match=r"is refused to these credentials: .* answers 401") as caught:
            get(tmp_path / "to", uri, **secured)
        assert "wrong" not in caught.value.message
        monkeypatch.setenv("DOCKER_AUTH_CONFIG", docker(registry.host))
        assert put(model, uri, **secured)["changed"]
        assert content_of(get(tmp_path / "to", uri, **secured)) == content_of(model)
    if way == "token":
        assert {*tokens.asked} == {"repository:team/secret:pull", "repository:team/secret:pull,push"}


def test_credentials_are_in_docker_s_file_too_and_what_is_no_such_file_is_not_repeated(
    site: Site, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "docker"
    home.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(home))
    folder = tmp_path / "registry"
    folder.mkdir()
    with open_registry(folder, site.ca_file.parent, passwords(folder)) as registry:
        (home / "config.json").write_text(docker(registry.host))
        assert put(model, f"oci://{registry.host}/m:1", plain_http=False, ca_file=site.ca_file)["changed"]
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", f'{{"auths": "{PASSWORD}"}}')
    with pytest.raises(ModelError, match="DOCKER_AUTH_CONFIG is not a configuration of docker") as caught:
        get(tmp_path / "to", "oci://127.0.0.1:1/m")
    assert PASSWORD not in caught.value.message
