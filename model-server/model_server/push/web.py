"""An archive of the directory, put at an https address."""

from __future__ import annotations

import hashlib
import tempfile
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from model_server import __version__
from model_server.artefact.pack import ARCHIVE, pack
from model_server.errors import ModelError, Reason
from model_server.fetch.https import opener, refusal, told
from model_server.push.options import occupied
from model_server.tokens import read_token

if TYPE_CHECKING:
    from model_server.fetch.patience import TransientError
    from model_server.fetch.source import Remote
    from model_server.push.options import Options

_BLOCK_BYTES = 1024 * 1024


def put_archive(directory: Path, target: Remote, options: Options) -> bool:
    """Send the archive; False where it is there already."""
    if not target.filename.endswith((ARCHIVE, ".tgz")):
        message = f"{target.shown} is to be an archive; let its name end in {ARCHIVE}."
        raise ModelError(Reason.INVALID, message)
    with tempfile.TemporaryDirectory() as desk:
        archive = Path(desk, target.filename)
        pack(directory, archive)
        address = _Address(target, options)
        if not options.force and (there := options.patience.try_to(address.digest, target.shown)):
            with archive.open("rb") as file:
                if there == hashlib.file_digest(file, "sha256").hexdigest():
                    return False
            raise occupied(target.shown, "it holds other bytes")
        options.patience.try_to(lambda: address.put(archive), target.shown)
    return True


class _Address:
    """A place on a web server."""

    def __init__(self, target: Remote, options: Options) -> None:
        self._target = target
        self._opener = opener(options.ca_file)
        self._silence_seconds = options.patience.silence_seconds
        self._token = read_token(options.tokens_dir) if options.tokens_dir else ""

    def digest(self) -> str:
        """Return the SHA-256 of what is there; empty where nothing is."""
        try:
            with (
                told(self._target.shown, _look_refusal),
                self._opener.open(self._request("GET"), timeout=self._silence_seconds) as answer,
            ):
                found = hashlib.sha256()
                while block := answer.read(_BLOCK_BYTES):
                    found.update(block)
                return found.hexdigest()
        except ModelError as error:
            if error.reason is Reason.NOT_FOUND:
                return ""
            raise

    def put(self, archive: Path) -> None:
        """Send it."""
        with archive.open("rb") as file, told(self._target.shown, _put_refusal):
            request = self._request("PUT", file, str(archive.stat().st_size))
            self._opener.open(request, timeout=self._silence_seconds).close()

    def _request(self, method: str, data: object = None, size: str = "") -> urllib.request.Request:
        headers = {"User-Agent": f"model-server/{__version__}"}
        if size:
            headers |= {"Content-Length": size, "Content-Type": "application/gzip"}
        request = urllib.request.Request(self._target.url, data, headers, method=method)  # type: ignore[arg-type]  # noqa: S310
        if self._token:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        return request


def _look_refusal(answered: urllib.error.HTTPError, shown: str) -> ModelError | TransientError:
    found = refusal(answered, shown)
    if isinstance(found, ModelError) and found.reason is Reason.REFUSED:
        message = (
            f"{found.message.rstrip('.')}; whether there is something already is not known. --force writes anyway."
        )
        return ModelError(Reason.REFUSED, message)
    return found


def _put_refusal(answered: urllib.error.HTTPError, shown: str) -> ModelError | TransientError:
    if answered.code in (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED):
        message = f"{shown} is refused: the server answers {answered.code}, it takes no uploads (PUT)."
        return ModelError(Reason.REFUSED, message)
    return refusal(answered, shown)
