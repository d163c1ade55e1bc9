"""Tell targets apart, and say what to serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_server.artefact.digest import content_of
from model_server.errors import ModelError, Reason
from model_server.fetch.source import Artefact, Bucket, Claim, Local, Remote, parse_uri
from model_server.push.options import Options

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Options", "push"]


def push(directory: Path, uri: str, options: Options) -> dict[str, object]:
    """Bring the directory there; return the URI and the digest that a ModelService serves it by."""
    if not directory.is_dir():
        raise ModelError(Reason.NOT_FOUND, f"{directory} is not a directory; name the model directory to push.")
    content = content_of(directory)  # refuses what no digest covers
    uri, changed = _put(directory, content.digest, uri, options)
    return {
        "uri": uri,
        "digest": content.digest,
        "files": content.files,
        "bytes": content.size_bytes,
        "changed": changed,
    }


def _put(directory: Path, digest: str, uri: str, options: Options) -> tuple[str, bool]:
    """Import what the target needs alone: botocore takes a moment."""
    match target := parse_uri(uri):
        case Local() | Claim():
            from model_server.push.directory import put_directory  # noqa: PLC0415

            return uri, put_directory(directory, digest, target, options)
        case Bucket():
            from model_server.push.bucket import put_objects  # noqa: PLC0415

            return uri, put_objects(directory, target, options)
        case Artefact():
            from model_server.push.artefact import put_artefact  # noqa: PLC0415

            pinned, changed = put_artefact(directory, target, options)
            return f"oci://{target.registry}/{target.repository}@{pinned}", changed
        case Remote():
            from model_server.push.web import put_archive  # noqa: PLC0415

            return uri, put_archive(directory, target, options)
    message = (
        f"{uri} cannot be pushed to; it can be to file, pvc, https, s3 and oci URIs (for the Hub, use its own tool)."
    )
    raise ModelError(Reason.INVALID, message)
