"""An S3 server on a folder (versitygw), with a proxy in front of it that can spoil its answers."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import botocore.session

from cluster import binaries, ports
from server.support import PATIENCE_SECONDS
from spoiler import Spoiler
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

ACCESS_KEY, SECRET_KEY = "reader", "s3cr3t-of-the-reader"


@dataclass
class Store:
    """The server as its users see it."""

    url: str
    proxy: Spoiler
    client: Any

    def put(self, bucket: str, objects: dict[str, bytes]) -> None:
        """Make a bucket of these objects."""
        with contextlib.suppress(self.client.exceptions.BucketAlreadyOwnedByYou):
            self.client.create_bucket(Bucket=bucket)
        for key, content in objects.items():
            self.client.put_object(Bucket=bucket, Key=key, Body=content)

    def put_in_parts(self, bucket: str, key: str, parts: list[bytes]) -> None:
        """Upload an object as tools upload large ones; its store knows no checksum of all of it then."""
        what = {"Bucket": bucket, "Key": key}
        upload = self.client.create_multipart_upload(**what)["UploadId"]
        done = []
        for number, part in enumerate(parts, start=1):
            sent = self.client.upload_part(**what, UploadId=upload, PartNumber=number, Body=part)
            done.append({"PartNumber": number, "ETag": sent["ETag"]})
        self.client.complete_multipart_upload(**what, UploadId=upload, MultipartUpload={"Parts": done})

    def meet(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Give this process what a container has to meet it with, as if nobody had asked yet."""
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_ENDPOINT_URL", self.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        self.proxy.spoil()
        self.proxy.asked.clear()

    def gets(self) -> list[str]:
        """Return the requests for the bytes of objects."""
        return [asked for asked in self.proxy.asked if asked.startswith("GET") and "list-type" not in asked]


@contextlib.contextmanager
def open_store(folder: Path, *options: str, ca_file: Path | None = None) -> Iterator[Store]:
    """Run it for a while. Only the tests' own client goes past the proxy."""
    (port,) = ports.free(1)
    for name in ("objects", "accounts"):
        (folder / name).mkdir()
    own = [f"--port=127.0.0.1:{port}", "--quiet", f"--iam-dir={folder / 'accounts'}"]
    command = [binaries.path("versitygw"), *own, *options, "posix", folder / "objects"]
    keys = {"ROOT_ACCESS_KEY_ID": ACCESS_KEY, "ROOT_SECRET_ACCESS_KEY": SECRET_KEY}
    with subprocess.Popen(command, env=keys, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            session = botocore.session.Session()
            session.set_credentials(ACCESS_KEY, SECRET_KEY)
            url = f"{'https' if ca_file else 'http'}://127.0.0.1:{port}"
            client = session.create_client("s3", "us-east-1", endpoint_url=url, verify=ca_file and str(ca_file))
            until(lambda: _answers(port), "the S3 server is there", patience=PATIENCE_SECONDS)
            proxy = Spoiler(port)
            with proxy.server(("127.0.0.1", 0)) as front:
                thread = threading.Thread(target=front.serve_forever, args=(0.01,))
                thread.start()
                try:
                    given = url if ca_file else f"http://127.0.0.1:{front.server_address[1]}"
                    yield Store(given, proxy, client)
                finally:
                    proxy.spoil()
                    front.shutdown()
                    thread.join()
        finally:
            server.terminate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
