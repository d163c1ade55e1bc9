"""What a model's URI may say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from model_server.errors import ModelError, Reason


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


Source: TypeAlias = Local | Claim | Remote


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
    raise _invalid(uri, "its scheme must be file, pvc or https")


def _remote(uri: str, path: PurePosixPath) -> Remote:
    parts = urlsplit(uri)
    if not parts.hostname:
        raise _invalid(uri, "it names no host")
    if parts.username is not None:
        # A password in a URI would show up in statuses and logs.
        raise ModelError(Reason.INVALID, "The model's URI holds a user name; addresses with credentials are not taken.")
    if not path.name:
        raise _invalid(uri, "it names no file")
    shown = parts._replace(query="", fragment="").geturl()
    name = path.name.lower()
    packing = next((kind for kind in Packing if name.endswith(kind.value)), Packing.SINGLE_FILE)
    return Remote(parts._replace(fragment="").geturl(), shown, path.name, packing)


def _invalid(uri: str, why: str) -> ModelError:
    return ModelError(Reason.INVALID, f"The model's URI {uri.partition('?')[0]!r} cannot be fetched: {why}.")
