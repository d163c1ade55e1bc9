"""Image archives: what is in them, and the tiny one that we write."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from cluster import archives
from cluster.errors import ClusterError
from cluster.node import _has

if TYPE_CHECKING:
    from pathlib import Path


def archive(path: Path, files: dict[str, object]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            body = json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return path


def test_our_own_image_has_one_program_and_is_read_back(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"\x7fELF")
    path = tmp_path / "pause.tar"
    archives.write(path, name="localhost/pause:v1", program=program)
    (image,) = archives.images(path)
    assert image.names == ("localhost/pause:v1",)
    with tarfile.open(path) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        config = json.load(tar.extractfile(manifest[0]["Config"]))  # type: ignore[arg-type]
    assert f"sha256:{manifest[0]['Config']}" == f"{image.id}.json"
    assert config["config"]["Entrypoint"] == ["/pause"]


def test_writing_the_same_image_twice_gives_the_same_id(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"\x7fELF")
    for name in ("one.tar", "two.tar"):
        archives.write(tmp_path / name, name="localhost/pause:v1", program=program)
    assert archives.images(tmp_path / "one.tar") == archives.images(tmp_path / "two.tar")


def test_an_oci_archive_names_its_images_by_annotation(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "oci.tar",
        {
            "oci-layout": {"imageLayoutVersion": "1.0.0"},
            "index.json": {
                "manifests": [
                    {
                        "digest": "sha256:aa",
                        "annotations": {"org.opencontainers.image.ref.name": "localhost/model-server:dev"},
                    }
                ]
            },
            "blobs/sha256/aa": {"config": {"digest": "sha256:bb"}},
        },
    )
    assert archives.images(path) == [archives.Image("sha256:bb", ("localhost/model-server:dev",))]


@pytest.mark.parametrize("content", [b"no archive", b""])
def test_what_is_no_archive_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.tar"
    path.write_bytes(content)
    with pytest.raises(ClusterError, match=r"model\.tar cannot be read as an image archive"):
        archives.images(path)


def test_a_plain_archive_of_files_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"neither a manifest\.json nor an index\.json"):
        archives.images(archive(tmp_path / "files.tar", {"readme": "hello"}))


@pytest.mark.parametrize(
    ("present", "has"),
    [
        ({"localhost/a:dev": "sha256:manifest", "sha256:id": "sha256:manifest"}, True),
        ({"localhost/a:dev": "sha256:other", "sha256:id": "sha256:manifest"}, False),  # the name moved on
        ({"localhost/a:dev": "sha256:other"}, False),
        ({}, False),
    ],
)
def test_an_image_is_there_only_if_its_name_leads_to_its_id(present: dict[str, str], has: bool) -> None:
    assert _has(present, archives.Image("sha256:id", ("localhost/a:dev",))) is has
