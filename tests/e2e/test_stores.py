"""Models from an S3 store, and a cache that spares the way to it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import spoiler
from cluster import binaries
from e2e import client as clients
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.client import Client
    from e2e.conftest import Model
    from e2e.kubectl import Kubectl, Object
    from e2e.modelservices import ModelService

pytestmark = pytest.mark.node

PORT, GATEWAY_PORT = 7070, 7071
BUCKET = "models"
KEYS = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "s3cr3t-of-the-reader"}
ENDPOINT = {"AWS_ENDPOINT_URL": f"http://objects:{PORT}"}
# Runs in the client's pod, which has the trained model and, from the image, botocore.
_UPLOAD = f"""
import contextlib, pathlib
import botocore.session
s3 = botocore.session.Session().create_client("s3", "us-east-1", endpoint_url="{ENDPOINT["AWS_ENDPOINT_URL"]}")
with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
    s3.create_bucket(Bucket="{BUCKET}")
for path in pathlib.Path("{clients.MODELS}/nlp-model").iterdir():
    s3.put_object(Bucket="{BUCKET}", Key=f"whole/{{path.name}}", Body=path.read_bytes())
"""


class Store:
    """An S3 server in the cluster, behind a proxy that remembers what was asked."""

    def __init__(self, kubectl: Kubectl, client: Client) -> None:
        self._kubectl = kubectl
        self._client = client

    def fill(self) -> None:
        """Put the perceptron into it."""
        variables = [f"{name}={value}" for name, value in KEYS.items()]
        self._client.run("env", *variables, "python3", "-c", _UPLOAD)

    def asked(self) -> list[str]:
        """Return all requests so far."""
        return [str(each) for each in json.loads(self._client.get(f"{ENDPOINT['AWS_ENDPOINT_URL']}/-/asked"))]

    def secret(self, name: str) -> None:
        """Apply a Secret for it."""
        data = {key: base64.b64encode(value.encode()).decode() for key, value in (KEYS | ENDPOINT).items()}
        self._kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})


@pytest.fixture(scope="module")
def store(kubectl: Kubectl, client: Client, perceptron: Model) -> Store:
    """The store, filled."""
    del perceptron
    program = f"{clients.MODELS}/versitygw"
    kubectl("cp", binaries.path("versitygw"), f"{clients.NAME}:{program}")
    roots = {"ROOT_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID", "ROOT_SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_KEY"}
    options = f"--port=127.0.0.1:{GATEWAY_PORT} --iam-dir=/objects/accounts posix /objects/data"
    pod = clients.pod(
        "objects",
        ["sh", "-c", f"mkdir /objects/accounts /objects/data && exec {program} {options}"],
        {"models": {"persistentVolumeClaim": {"claimName": "models"}}, "objects": {"emptyDir": {}}},
    )
    (gateway,) = pod["spec"]["containers"]
    gateway["env"] = [{"name": name, "value": KEYS[key]} for name, key in roots.items()]
    spoils = ["python3", "-c", Path(spoiler.__file__).read_text(), str(PORT), str(GATEWAY_PORT)]
    pod["spec"]["containers"].append(gateway | {"name": "spoiler", "command": spoils, "volumeMounts": []})
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "objects"}}
    kubectl.apply(service | {"spec": {"selector": {"app": "objects"}, "ports": [{"port": PORT}]}}, pod)
    made = Store(kubectl, client)
    kubectl("wait", "--for=condition=Ready", "pod/objects", "--timeout=120s")
    until(lambda: made.fill() or True, "the store takes objects")
    made.secret("s3-read")
    return made


def source(place: str, **more: object) -> Object:
    return {"uri": f"s3://{BUCKET}/{place}", "credentialsSecretRef": {"name": "s3-read"}, **more}


def test_a_second_service_starts_from_the_cache_without_another_download(
    services: Callable[[str], ModelService], store: Store, perceptron: Model, client: Client, kubectl: Kubectl
) -> None:
    model = source("whole", cacheClaimRef={"name": "models"})
    first, second = services("cached"), services("cached-too")
    first.apply(model=model, replicas=2)
    first.until_ready(2)
    asked = store.asked()
    second.apply(model=model)
    second.until_ready(1)
    assert [each.split("?")[0] for each in store.asked()[len(asked) :]] == [f"GET /{BUCKET}"], "it was only listed"
    for service in (first, second):
        assert client.infer(service.name, perceptron.inputs)[0] == pytest.approx(perceptron.outputs[0], abs=1e-5)
    (pod,) = second.pods()
    with pytest.raises(AssertionError, match="Read-only file system"):
        kubectl("exec", pod, "--container=server", "--", "touch", "/mnt/cache/models/x")
