"""Objects below a key of an S3 store, each sent with the checksum that its store then keeps."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from model_server.artefact.card import CARD
from model_server.artefact.digest import files_of
from model_server.errors import ModelError, Reason
from model_server.fetch.bucket import BucketOrigin
from model_server.push.options import occupied

if TYPE_CHECKING:
    from pathlib import Path

    from model_server.fetch.origin import File
    from model_server.fetch.source import Bucket
    from model_server.push.options import Options

_MAX_OBJECT_BYTES = 5 * 1024**3  # S3's own limit for one request


class _Bucket(BucketOrigin):
    needs = "s3:ListBucket, s3:GetObject, s3:PutObject and, to overwrite, s3:DeleteObject"

    def below(self) -> dict[str, File]:
        """Return what is there."""
        self._prefix = f"{self._key}/" if self._key else ""
        return {file.name: file for file in self._below(self._prefix)}

    def put(self, name: str, path: Path) -> None:
        with path.open("rb") as file, self._told():
            checksum = base64.b64encode(hashlib.file_digest(file, "sha256").digest()).decode()
            file.seek(0)
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=file, ChecksumSHA256=checksum)

    def delete(self, name: str) -> None:
        with self._told():
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)


def put_objects(directory: Path, target: Bucket, options: Options) -> bool:
    """Send the files that are not there; False where all are. The card comes last: without it nothing is served."""
    files = files_of(directory)
    for name, path in files.items():
        if path.stat().st_size > _MAX_OBJECT_BYTES:
            message = f"{name} is larger than the 5 GiB that a store takes at once; write the weights in several files."
            raise ModelError(Reason.INVALID, message)
    bucket = _Bucket(target, ca_file=options.ca_file, patience=options.patience)
    patience, shown = options.patience, target.shown
    there = patience.try_to(bucket.below, shown)

    def is_same(name: str) -> bool:
        if there[name].size != files[name].stat().st_size:
            return False
        known = patience.try_to(lambda: bucket.checksum(there[name]), shown)
        return known is not None and known.holds(files[name])

    foreign = there.keys() - files.keys()
    same = {name for name in there.keys() & files.keys() if is_same(name)}
    other = sorted(foreign | (there.keys() & files.keys()) - same)
    if other and not options.force:
        raise occupied(shown, f"{other[0]} there is not a file of this model")
    for name in sorted(files.keys() - same, key=lambda name: (name == CARD, name)):
        patience.try_to(lambda name=name: bucket.put(name, files[name]), shown)  # type: ignore[misc]
    for name in foreign:
        patience.try_to(lambda name=name: bucket.delete(name), shown)  # type: ignore[misc]
    return bool(foreign or files.keys() - same)
