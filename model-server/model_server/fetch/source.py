"""What the URI of a model or a data set may say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote, urlsplit

from model_server.errors import ModelError, Reason

if TYPE_CHECKING:
    from collections.abc import Callable


class Packing(Enum):
    """What an https address delivers, by its file name."""

    TAR = (".tar", ".tar.gz", ".tgz")
    ZIP = (".zip",)
    SINGLE_FILE = ()


@dataclass(frozen=True, slots=True)
class Local:
    """A directory that is in the container already."""

    path: PurePosixPath


@dataclass(frozen=True, slots=True)
class Claim:
    """A directory on the PersistentVolumeClaim that is mounted beside; the claim's name is for the operator."""

    path: PurePosixPath


@dataclass(frozen=True, slots=True)
class Remote:
    """A file to download. `shown` is the address for messages: a query often holds a signature."""

    url: str
    shown: str
    filename: str
    packing: Packing


@dataclass(frozen=True, slots=True)
class Bucket:
    """Objects of an S3 store: all below a key, or the one of that key. An empty key is the whole bucket."""

    name: str
    key: str

    @property
    def shown(self) -> str:
        """The address for messages."""
        return f"s3://{self.name}/{self.key}"


@dataclass(frozen=True, slots=True)
class Repository:
    """Files of a repository of the Hugging Face Hub: all below a path, or the one of that path."""

    name: str
    revision: str
    path: str

    @property
    def shown(self) -> str:
        """The address for messages."""
        return f"hf://{self.name}@{self.revision}" + (f"/{self.path}" if self.path else "")


@dataclass(frozen=True, slots=True)
class Artefact:
    """An OCI artefact in a registry, by its tag or by the digest of its manifest."""

    registry: str
    repository: str
    reference: str

    @property
    def is_pinned(self) -> bool:
        """Whether it is named by its digest."""
        return ":" in self.reference

    @property
    def shown(self) -> str:
        """The address for messages."""
        return f"oci://{self.registry}/{self.repository}{'@' if self.is_pinned else ':'}{self.reference}"


Source: TypeAlias = Local | Claim | Remote | Bucket | Repository | Artefact

_BUCKET = re.compile(r"[A-Za-z0-9._-]{3,255}")
_REPOSITORY = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)(?:@([^/]+))?(?:/(.*))?", re.ASCII)
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_ARTEFACT = re.compile(
    rf"([A-Za-z0-9.-]+(?::\d+)?)/({_PART}(?:/{_PART})*)(?::(\w[\w.-]{{0,127}}))?(?:@(sha256:[0-9a-f]{{64}}))?", re.ASCII
)


def packing_of(name: str) -> Packing:
    """Tell by its name what a single file is."""
    return next((kind for kind in Packing if name.lower().endswith(kind.value)), Packing.SINGLE_FILE)


def parse_uri(uri: str) -> Source:
    """Understand a URI, or say in a sentence what is wrong with it."""
    try:
        parts = urlsplit(uri)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        raise _invalid(uri, str(error)) from error
    path = PurePosixPath(unquote(parts.path) or "/")
    if ".." in path.parts or "\0" in str(path):
        raise _invalid(uri, "its path must not go up with '..'")
    match parts.scheme:
        case "file":
            if host:
                raise _invalid(uri, "a file URI has three slashes, as in file:///models/nlp")
            return Local(path)
        case "pvc":
            if not host:
                raise _invalid(uri, "a pvc URI names the claim, as in pvc://claim/path")
            return Claim(path.relative_to("/"))
        case "https":
            return _remote(uri, path)
        case "s3" | "hf" | "oci":
            return _STORES[parts.scheme](uri)
    raise _invalid(uri, "its scheme must be file, pvc, https, s3, hf or oci")


def _bucket(uri: str) -> Bucket:
    """Take the key as it is written, as all tools for S3 do: nothing in it is an escape."""
    name, _, key = uri.removeprefix("s3://").partition("/")
    if not _BUCKET.fullmatch(name):
        raise _invalid(uri, "an s3 URI names a bucket and what is in it, as in s3://bucket/models/nlp")
    return Bucket(name, key.strip("/"))


def _repository(uri: str) -> Repository:
    found = _REPOSITORY.fullmatch(uri.removeprefix("hf://"))
    if found is None:
        raise _invalid(
            uri, "an hf URI names a repository, as in hf://org/repo, hf://org/repo@revision or .../path in it"
        )
    name, revision, path = found.groups()
    return Repository(name, unquote(revision or "main"), (path or "").strip("/"))


def _artefact(uri: str) -> Artefact:
    """Read it as container tools do: the tag is latest unless given, and does not matter beside a digest."""
    found = _ARTEFACT.fullmatch(uri.removeprefix("oci://"))
    if found is None:
        raise _invalid(
            uri, "an oci URI names a registry and a repository, as in oci://registry/models/nlp:3 or ...@sha256:DIGEST"
        )
    registry, repository, tag, digest = found.groups()
    return Artefact(registry, repository, digest or tag or "latest")


_STORES: dict[str, Callable[[str], Source]] = {"s3": _bucket, "hf": _repository, "oci": _artefact}


def _remote(uri: str, path: PurePosixPath) -> Remote:
    parts = urlsplit(uri)
    if not parts.hostname:
        raise _invalid(uri, "it names no host")
    if parts.username is not None:
        # A password in a URI would show up in statuses and logs.
        raise ModelError(Reason.INVALID, "The URI holds a user name; addresses with credentials are not taken.")
    if not path.name:
        raise _invalid(uri, "it names no file")
    shown = parts._replace(query="", fragment="").geturl()
    return Remote(parts._replace(fragment="").geturl(), shown, path.name, packing_of(path.name))


def _invalid(uri: str, why: str) -> ModelError:
    return ModelError(Reason.INVALID, f"The URI {uri.partition('?')[0]!r} cannot be fetched: {why}.")
