"""Models from an S3 store, and from a registry: what may go wrong on their way, and a cache that spares the way."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import spoiler
from cluster import binaries
from e2e import client as clients
from server.registry import HTPASSWD, PASSWORD, docker
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
PADDING_BYTES = 40 * 1024 * 1024  # three parts: a download of which something is there when it is interrupted
_ASK = (
    "import sys, urllib.request as u; _, url, *body = map(str.encode, sys.argv); "
    "sys.stdout.buffer.write(u.urlopen(url.decode(), *body, timeout=10).read())"
)
HELD = {"path": "killed/padding", "kind": "hold", "at": 10 * 1024 * 1024}  # in the first of its parts

# Runs in the client's pod, which has the trained model and, from the image, botocore. With an argument, all is well.
_UPLOAD = f"""
import contextlib, io, pathlib, sys, tarfile
import botocore.session
s3 = botocore.session.Session().create_client("s3", "us-east-1", endpoint_url="{ENDPOINT["AWS_ENDPOINT_URL"]}")
model = {{path.name: path.read_bytes() for path in pathlib.Path("{clients.MODELS}/nlp-model").iterdir()}}
other = model if sys.argv[1:] else {{**model, "golden.npz": b""}}
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w:gz") as tar:
    for name, content in {{**model, "padding": bytes({PADDING_BYTES})}}.items():
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
objects = {{f"{{place}}/{{name}}": content for place in ("whole", "cut", "refused") for name, content in model.items()}}
objects |= {{f"tampered/{{name}}": content for name, content in other.items()}}
objects |= {{f"killed/{{name}}": content for name, content in {{**model, "padding": bytes({PADDING_BYTES})}}.items()}}
objects["full/model.tar.gz"] = packed.getvalue()
with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
    s3.create_bucket(Bucket="{BUCKET}")
for key, content in objects.items():
    s3.put_object(Bucket="{BUCKET}", Key=key, Body=content)
"""


class Store:
    """An S3 server in the cluster, whose answers can be spoiled."""

    def __init__(self, kubectl: Kubectl, client: Client) -> None:
        self._kubectl = kubectl
        self._client = client

    def fill(self, *arguments: str) -> None:
        """Put the perceptron into it, in several states."""
        variables = [f"{name}={value}" for name, value in KEYS.items()]
        self._client.run("env", *variables, "python3", "-c", _UPLOAD, *arguments)

    def spoil(self, *faults: dict[str, object]) -> None:
        """Have these faults from now on, and no others."""
        self._client.run("python3", "-c", _ASK, f"{ENDPOINT['AWS_ENDPOINT_URL']}/-/faults", json.dumps(faults))

    def asked(self) -> list[str]:
        """Return all requests so far."""
        told = self._client.run("python3", "-c", _ASK, f"{ENDPOINT['AWS_ENDPOINT_URL']}/-/asked")
        return [str(each) for each in json.loads(told)]

    def secret(self, name: str, key: str = KEYS["AWS_SECRET_ACCESS_KEY"]) -> None:
        """Apply a Secret for it."""
        variables = KEYS | ENDPOINT | {"AWS_SECRET_ACCESS_KEY": key}
        data = {name: base64.b64encode(value.encode()).decode() for name, value in variables.items()}
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


def says(service: ModelService, reason: str, *parts: str) -> None:
    """Wait for a sentence in the status; nothing is served meanwhile."""

    def told() -> bool:
        ready = service.condition("Ready")
        assert ready.get("reason") == reason, ready
        assert all(part in ready["message"] for part in parts), ready
        return True

    until(told, f"{service.name} says {parts}", patience=120, details=lambda: service.get()["status"])
    assert service.condition("Available")["status"] == "False"
    assert service.get()["status"]["readyReplicas"] == 0


def test_what_goes_wrong_on_the_way_is_told_and_never_served_and_the_next_try_succeeds(
    services: Callable[[str], ModelService], store: Store, perceptron: Model, client: Client, kubectl: Kubectl
) -> None:
    store.spoil({"path": "cut/golden.npz", "kind": "cut", "at": 100}, HELD)
    store.secret("wrong", key="another")
    names = ("cut", "tampered", "full", "outgrown", "refused", "nowhere")
    cut, tampered, full, outgrown, refused, nowhere = made = [*map(services, names)]
    cut.apply(model=source("cut"))
    tampered.apply(model=source("tampered", digest=perceptron.digest))
    full.apply(model=source("full/model.tar.gz"), podTemplate=_model_volume(sizeLimit="8Mi", medium="Memory"))
    outgrown.apply(model=source("killed"), podTemplate=_model_volume(sizeLimit="8Mi"))
    refused.apply(model=source("refused", credentialsSecretRef={"name": "wrong"}))
    nowhere.apply(model=source("whole", credentialsSecretRef={"name": "none"}))

    says(nowhere, "ConfigMissing", 'secret "none" not found')
    says(refused, "FetchFailed", "the credentials are not valid; correct the Secret", "403 SignatureDoesNotMatch")
    says(tampered, "DigestMismatch", f"but {perceptron.digest} is asked for")
    says(full, "FetchFailed", "The volume at /model is full")
    says(cut, "FetchFailed", "in 5 attempts: the connection broke after 100 of", "bytes of golden.npz")
    says(outgrown, "Evicted", 'Usage of EmptyDir volume "model" exceeds the limit "8Mi"')
    statuses = json.dumps([each.get()["status"] for each in made])
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in statuses

    store.spoil()
    store.secret("wrong")
    store.secret("none")
    store.fill("mended")
    full.apply(model=source("full/model.tar.gz"), podTemplate=_model_volume(sizeLimit="100Mi", medium="Memory"))
    outgrown.apply(model=source("killed"), podTemplate=_model_volume(sizeLimit="100Mi"))
    for mended in made:
        mended.until("Ready", "True")
        assert client.infer(mended.name, perceptron.inputs)[0] == pytest.approx(perceptron.outputs[0], abs=1e-5)
        assert "AWS_" not in kubectl("exec", f"deployment/{mended.stable}", "--container=server", "--", "env")
        mended.delete()


def _model_volume(**limits: str) -> Object:
    """Limit the volume: one in memory is full when it is full, on any other the kubelet looks now and then."""
    return {"spec": {"volumes": [{"name": "model", "emptyDir": limits}]}}


def test_a_download_that_is_killed_goes_on_with_what_is_there(
    services: Callable[[str], ModelService], store: Store, perceptron: Model, client: Client, kubectl: Kubectl
) -> None:
    store.spoil(HELD)
    service = services("killed")
    service.apply(model=source("killed"))
    (pod,) = until(service.pods, "there is a pod")

    def in_fetch(*command: str) -> str:
        return kubectl("exec", pod, "--container=fetch", "--", *command)

    record = "cat /model/.downloads/partial/*/done"
    until(lambda: "33554432 padding" in in_fetch("sh", "-c", record), "the last part is there", patience=120)
    in_fetch("python3", "-c", "import os; os.kill(1, 15)")
    says(service, "FetchFailed", "Container fetch exits with code 143")
    store.spoil()
    service.until_ready(1)
    assert "going on with 1 of" in kubectl("logs", pod, "--container=fetch")
    assert client.infer("killed", perceptron.inputs)[0] == pytest.approx(perceptron.outputs[0], abs=1e-5)


def test_a_second_service_starts_from_the_cache_without_another_download(
    services: Callable[[str], ModelService], store: Store, perceptron: Model, client: Client, kubectl: Kubectl
) -> None:
    store.spoil()
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


# -- a registry

REGISTRY = "registry:5000"


@pytest.fixture(scope="module")
def artefact(kubectl: Kubectl, client: Client, perceptron: Model) -> str:
    """The perceptron in a registry that asks for a password; how it is named there."""
    del perceptron
    program, config = f"{clients.MODELS}/registry", f"{clients.MODELS}/registry.yaml"
    kubectl("cp", binaries.path("registry"), f"{clients.NAME}:{program}")
    settings = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": "/blobs"}},
        "http": {"addr": ":5000", "secret": "tests"},
        "auth": {"htpasswd": {"realm": "tests", "path": f"{clients.MODELS}/htpasswd"}},
    }
    for file, content in ((config, json.dumps(settings)), (f"{clients.MODELS}/htpasswd", HTPASSWD)):
        client.run("sh", "-c", f"cat > {file}", given=content)
    volumes = {"models": {"persistentVolumeClaim": {"claimName": "models"}}, "blobs": {"emptyDir": {}}}
    pod = clients.pod("registry", [program, "serve", config], volumes)
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "registry"}}
    kubectl.apply(service | {"spec": {"selector": {"app": "registry"}, "ports": [{"port": 5000}]}}, pod)
    push = ["python3", "-m", "model_server", "push", f"{clients.MODELS}/nlp-model", f"oci://{REGISTRY}/team/nlp:1"]
    variables = [f"DOCKER_AUTH_CONFIG={docker(REGISTRY)}", "OCI_PLAIN_HTTP=true"]
    told = until(lambda: client.run("env", *variables, *push), "the registry takes the model", patience=120)
    return str(json.loads(told)["uri"])


def test_an_artefact_comes_from_a_registry_that_knows_the_secret_s_password(
    services: Callable[[str], ModelService], artefact: str, perceptron: Model, client: Client, kubectl: Kubectl
) -> None:
    def secret(password: str) -> Object:
        data = {".dockerconfigjson": docker(REGISTRY, password)}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull"}, "stringData": data} | {
            "type": "kubernetes.io/dockerconfigjson"
        }

    kubectl.apply(secret("wrong"))
    service = services("artefact")
    plain = {"name": "fetch", "env": [{"name": "OCI_PLAIN_HTTP", "value": "true"}]}
    service.apply(
        model={"uri": artefact, "digest": perceptron.digest, "credentialsSecretRef": {"name": "pull"}},
        podTemplate={"spec": {"initContainers": [plain]}},
    )
    says(service, "FetchFailed", "is refused to these credentials", f"{REGISTRY} answers 401")
    kubectl.apply(secret(PASSWORD))
    service.until_ready(1)
    assert client.infer("artefact", perceptron.inputs)[0] == pytest.approx(perceptron.outputs[0], abs=1e-5)
