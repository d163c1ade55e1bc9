"""Models in S3 and in stores that speak its protocol; credentials, region and endpoint as AWS's tools have them."""

from __future__ import annotations

import base64
import contextlib
import os
import re
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore
import botocore.config
import botocore.exceptions
import botocore.session
import urllib3.exceptions

from model_server import __version__
from model_server.errors import ModelError, Reason
from model_server.fetch.https import trust
from model_server.fetch.origin import Checksum, File, Listing
from model_server.fetch.patience import TransientError
from model_server.fetch.transfer import THREADS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model_server.fetch.origin import Body
    from model_server.fetch.patience import Patience
    from model_server.fetch.source import Bucket

_SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_REMEDY = "the Secret of credentialsSecretRef"
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_WRONG_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
}
_NO_OBJECT = {"NoSuchKey", "404"}  # an answer to HEAD has no code of its own
_TRY_AGAIN = {"RequestTimeout", "RequestTimeTooSkewed", "SlowDown", "Throttling", "ThrottlingException"}


class BucketOrigin:
    """Objects of a bucket."""

    needs = "s3:ListBucket and s3:GetObject"

    def __init__(self, source: Bucket, *, ca_file: Path | None, patience: Patience) -> None:
        self.shown = source.shown
        self._bucket = source.name
        self._key = source.key
        self._prefix = ""  # what the names of files leave out of their keys
        session = botocore.session.Session()
        try:
            credentials = session.get_credentials()
            self._is_anonymous = credentials is None
            self._client = session.create_client(
                "s3", config=_config(patience, is_anonymous=self._is_anonymous), verify=_certificates(ca_file)
            )
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            message = f"{self.shown} cannot be asked for: {error}. Look at the variables AWS_* of the container."
            raise ModelError(Reason.INVALID, message) from error

    def list(self) -> Listing:
        """List all objects below the key; where there are none, the object of that key."""
        self._prefix = f"{self._key}/" if self._key else ""
        files = tuple(self._below(self._prefix))
        if files:
            return Listing(tuple(sorted(files, key=lambda file: file.name)), is_directory=True)
        if not self._key:
            raise ModelError(Reason.NOT_FOUND, f"The bucket {self._bucket} is empty.")
        self._prefix = self._key.rpartition("/")[0] + "/" if "/" in self._key else ""
        name = self._key.removeprefix(self._prefix)
        with self._told():
            found = self._client.head_object(Bucket=self._bucket, Key=self._key)
        return Listing((File(name, found["ContentLength"], found["ETag"]),), is_directory=False)

    @contextlib.contextmanager
    def read(self, file: File, start: int, stop: int) -> Iterator[Body]:
        """Open some bytes of an object, as long as it is the one that was listed."""
        with self._told():
            found = self._client.get_object(**self._object(file), Range=f"bytes={start}-{stop - 1}")
            with contextlib.closing(found["Body"]) as body:
                yield _UntilItEnds(body)

    def checksum(self, file: File) -> Checksum | None:
        """Return the checksum of the whole object that its store keeps.

        An object uploaded in parts mostly has none, and one that is encrypted with a key has an ETag that is no MD5.
        """
        with self._told():
            found = self._client.head_object(**self._object(file), ChecksumMode="ENABLED")
        if found.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT":
            for algorithm in ("sha256", "crc32"):
                if value := found.get(f"Checksum{algorithm.upper()}"):
                    return Checksum(algorithm, base64.b64decode(value).hex())
        md5 = _MD5.fullmatch(found["ETag"])
        is_encrypted = found.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in found
        return Checksum("md5", md5[1]) if md5 and not is_encrypted else None

    def _below(self, prefix: str) -> Iterator[File]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        with self._told():
            for page in pages:
                for each in page.get("Contents", ()):
                    if not each["Key"].endswith("/"):  # the empty objects that stand for folders
                        yield File(each["Key"].removeprefix(prefix), each["Size"], each["ETag"])

    def _object(self, file: File) -> dict[str, Any]:
        return {"Bucket": self._bucket, "Key": self._prefix + file.name, "IfMatch": file.version}

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Say in a sentence what the store or the way to it refuses. Nothing of botocore's holds a secret key."""
        try:
            yield
        except botocore.exceptions.ClientError as error:
            raise self._refusal(error) from None
        except botocore.exceptions.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                message = f"{self.shown} is in a store whose certificate is not trusted: {error}."
                raise ModelError(Reason.UNREACHABLE, message) from error
            raise TransientError(str(error)) from error
        except (
            botocore.exceptions.ConnectionError,
            botocore.exceptions.HTTPClientError,
            urllib3.exceptions.HTTPError,  # of a body that is being read
        ) as error:
            raise TransientError(str(error).rstrip(".")) from error
        except botocore.exceptions.BotoCoreError as error:
            message = f"{self.shown} cannot be asked for: {error}. Look at the variables AWS_* of the container."
            raise ModelError(Reason.INVALID, message) from error

    def _refusal(self, error: botocore.exceptions.ClientError) -> ModelError | TransientError:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        code = error.response["Error"].get("Code", "")
        answer = f"{self._client.meta.endpoint_url} answers {status} {code}".strip()
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS or code in _TRY_AGAIN:
            return TransientError(answer)
        reason, why = Reason.REFUSED, f"is refused to these credentials, which need {self.needs}"
        if status == HTTPStatus.PRECONDITION_FAILED:
            reason, why = Reason.NOT_FOUND, "changed while it was downloaded; the next try takes it as it is then"
        elif code == "NoSuchBucket":
            reason, why = Reason.NOT_FOUND, f"does not exist, there is no bucket {self._bucket}"
        elif code in _NO_OBJECT:
            reason, why = Reason.NOT_FOUND, "does not exist, nothing has that key or is below it"
        elif code in _WRONG_CREDENTIALS or status == HTTPStatus.UNAUTHORIZED:
            why = f"is refused, the credentials are not valid; correct {_REMEDY}"
        elif self._is_anonymous:
            why = f"is refused to who shows no credentials; name {_REMEDY}"
        return ModelError(reason, f"{self.shown} {why}: {answer}.")


class _UntilItEnds:
    """A body that ends where its connection does; who reads it knows how long it should be."""

    def __init__(self, body: Any) -> None:  # noqa: ANN401  # botocore has no types
        self._body = body

    def read(self, size: int, /) -> bytes:
        """Return some bytes, none at the end."""
        try:
            content: bytes = self._body.read(size)
        except botocore.exceptions.IncompleteReadError:
            return b""
        return content


def _config(patience: Patience, *, is_anonymous: bool) -> botocore.config.Config:
    return botocore.config.Config(
        region_name=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        signature_version=botocore.UNSIGNED if is_anonymous else None,
        connect_timeout=patience.silence_seconds,
        read_timeout=patience.silence_seconds,
        retries={"total_max_attempts": 1},  # ours go on where a part broke off
        max_pool_connections=THREADS,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        user_agent_extra=f"model-server/{__version__}",
    )


def _certificates(ca_file: Path | None) -> str | None:
    """Trust the given authority alone, or else the system's, where botocore would bring its own."""
    if ca_file is None:
        return str(_SYSTEM_CERTIFICATES) if _SYSTEM_CERTIFICATES.is_file() else None
    trust(ca_file)  # or say that it is none
    return str(ca_file)
