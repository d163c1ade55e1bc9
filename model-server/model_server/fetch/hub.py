"""Models on the Hugging Face Hub, over the two calls that a download takes: what a revision holds, and a file of it.

huggingface_hub makes the same ones, and would bring 14 packages (24 MB) into the image, a downloader that checks sizes
only, and its own protocol between the Hub's chunks and it. Files kept in that way come as whole files here.
"""

from __future__ import annotations

import contextlib
import os
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import msgspec

from model_server import __version__
from model_server.errors import ModelError, Reason
from model_server.fetch.https import opener, refusal, told
from model_server.fetch.origin import Checksum, File, Listing, skip

if TYPE_CHECKING:
    import http.client
    from collections.abc import Iterator
    from pathlib import Path

    from model_server.fetch.origin import Body
    from model_server.fetch.patience import Patience, TransientError
    from model_server.fetch.source import Repository

_HUB = "https://huggingface.co"
_REMEDY = "A token that may read it belongs under HF_TOKEN in the Secret of credentialsSecretRef."


class _Large(msgspec.Struct, frozen=True):
    sha256: str


class _Sibling(msgspec.Struct, frozen=True, rename="camel"):
    rfilename: str
    size: int
    blob_id: str
    lfs: _Large | None = None


class _Revision(msgspec.Struct, frozen=True):
    sha: str
    siblings: tuple[_Sibling, ...]


class HubOrigin:
    """Files of one revision of a repository."""

    def __init__(self, source: Repository, *, ca_file: Path | None, patience: Patience) -> None:
        self.shown = source.shown
        self._source = source
        self._commit = ""  # which one the revision is, once it was listed
        self._sums: dict[str, Checksum] = {}
        self._directory = ""  # what the names of files leave out of their paths
        self._patience = patience
        self._opener = opener(ca_file)
        self._token = os.environ.get("HF_TOKEN", "")
        self._endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or _HUB
        if urlsplit(self._endpoint).scheme != "https":  # the token would travel in the clear
            raise ModelError(Reason.INVALID, f"HF_ENDPOINT is {self._endpoint!r}, but must be an https address.")

    def list(self) -> Listing:
        """List the files at or below the path, as of the commit that the revision is now."""
        revision = quote(self._source.revision, safe="")
        url = f"{self._endpoint}/api/models/{self._source.name}/revision/{revision}?blobs=true"
        with told(self.shown, self._refusal), self._open(url) as answer:
            text = answer.read()
        try:
            found = msgspec.json.decode(text, type=_Revision)
        except msgspec.MsgspecError as error:
            message = f"{self.shown}: {self._endpoint} does not answer as the Hub does: {error}."
            raise ModelError(Reason.INVALID, message) from error
        self._commit = found.sha
        path = self._source.path
        below = f"{path}/" if path else ""
        chosen = [each for each in found.siblings if each.rfilename.startswith(below)]
        if is_directory := bool(chosen):
            self._directory = below
        else:
            chosen = [each for each in found.siblings if each.rfilename == path]
            self._directory = path[: path.rfind("/") + 1]
        if not chosen:
            message = f"{self.shown} does not exist: revision {self._source.revision} holds no file there."
            raise ModelError(Reason.NOT_FOUND, message)
        files = []
        for each in sorted(chosen, key=lambda sibling: sibling.rfilename):
            checksum = Checksum("sha256", each.lfs.sha256) if each.lfs else Checksum("git", each.blob_id)
            name = each.rfilename.removeprefix(self._directory)
            self._sums[name] = checksum
            files.append(File(name, each.size, checksum.value))
        return Listing(tuple(files), is_directory=is_directory)

    @contextlib.contextmanager
    def read(self, file: File, start: int, stop: int) -> Iterator[Body]:
        """Open some bytes of a file of the commit."""
        path = quote(self._directory + file.name)
        url = f"{self._endpoint}/{self._source.name}/resolve/{self._commit}/{path}"
        wanted = {} if (start, stop) == (0, file.size) else {"Range": f"bytes={start}-{stop - 1}"}
        with told(self.shown, self._refusal), self._open(url, **wanted) as body:
            if wanted and body.status != HTTPStatus.PARTIAL_CONTENT:  # who ignores ranges sends all of it
                skip(body, start)
            yield body

    def checksum(self, file: File) -> Checksum | None:
        """Return the SHA-256 of a large file, the name of git's blob of any other."""
        return self._sums[file.name]

    def _open(self, url: str, **headers: str) -> http.client.HTTPResponse:
        agent = {"User-Agent": f"model-server/{__version__}"}
        request = urllib.request.Request(url, headers=agent | headers)  # noqa: S310  # https, as __init__ saw to
        if self._token:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        response: http.client.HTTPResponse = self._opener.open(request, timeout=self._patience.silence_seconds)
        return response

    def _refusal(self, answered: urllib.error.HTTPError, shown: str) -> ModelError | TransientError:
        """Tell by the Hub's own code what is missing; to strangers it hides which repositories there are."""
        code = answered.headers.get("X-Error-Code", "")
        says = f"{self._endpoint} answers {answered.code} {code}".strip()
        if code == "RevisionNotFound":
            message = f"{shown} does not exist: the repository has no revision {self._source.revision}; {says}."
            return ModelError(Reason.NOT_FOUND, message)
        if code == "GatedRepo":
            message = f"{shown} is open only to accounts that its owner has let in: {says}. {_REMEDY}"
            return ModelError(Reason.REFUSED, message)
        if code == "RepoNotFound" or (answered.code == HTTPStatus.UNAUTHORIZED and not self._token):
            message = f"{shown} does not exist, or not for everybody: {says}. {_REMEDY}"
            return ModelError(Reason.NOT_FOUND, message)
        if answered.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) and self._token:
            return ModelError(Reason.REFUSED, f"{shown}: the Hub does not take the token: {says}. {_REMEDY}")
        return refusal(answered, shown)
