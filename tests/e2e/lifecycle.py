"""`make lifecycle`: examples/lifecycle on a cluster, an S3 store and a Prometheus of its own, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import botocore.session

from cluster import binaries
from cluster.home import Home
from cluster.progress import say, step
from e2e import client as clients
from e2e import installed
from e2e.monitoring import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.kubectl import Kubectl

KEYS = {"AWS_ACCESS_KEY_ID": "lifecycle", "AWS_SECRET_ACCESS_KEY": "s3cr3t-of-lifecycle"}
BUCKET = "models"
PORT = 7070
_STORE = "lifecycle-store"
_AWAIT = "until test -e /store/ready; do sleep 0.1; done; mkdir /store/accounts /store/data"
_SERVE = f"exec /store/versitygw --port=:{PORT} --iam-dir=/store/accounts posix /store/data"


@contextlib.contextmanager
def store(kubectl: Kubectl) -> Iterator[dict[str, str]]:
    """Run an S3 server in a pod; give the variables by which it is reached from here, and its address for pods."""
    pod = clients.pod(_STORE, ["sh", "-c", f"{_AWAIT} && {_SERVE}"], {"store": {"emptyDir": {}}})
    roots = {"ROOT_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID", "ROOT_SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_KEY"}
    pod["spec"]["containers"][0] |= {
        "env": [{"name": name, "value": KEYS[key]} for name, key in roots.items()],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
    }
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": _STORE}}
    kubectl.apply(service | {"spec": {"selector": {"app": _STORE}, "ports": [{"port": PORT}]}}, pod)
    try:
        kubectl("wait", "--for=jsonpath={.status.phase}=Running", f"pod/{_STORE}", "--timeout=180s")
        kubectl("cp", binaries.path("versitygw"), f"{_STORE}:/store/versitygw")
        kubectl("exec", _STORE, "--", "touch", "/store/ready")
        kubectl("wait", "--for=condition=Ready", f"pod/{_STORE}", "--timeout=60s")
        with kubectl.start("port-forward", f"service/{_STORE}", f":{PORT}") as forward:
            try:
                assert forward.stdout is not None
                found = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())
                assert found, "kubectl port-forward says no port"
                url = f"http://127.0.0.1:{found[1]}"
                _make_bucket(url)
                yield KEYS | {"AWS_ENDPOINT_URL": url, "S3_FOR_PODS": f"http://{_STORE}:{PORT}"}
            finally:
                forward.terminate()
    finally:
        kubectl("delete", "pod,service", _STORE, "--wait=false")


def _make_bucket(url: str) -> None:
    session = botocore.session.Session()
    session.set_credentials(*KEYS.values())
    client = session.create_client("s3", "us-east-1", endpoint_url=url)
    client.create_bucket(Bucket=BUCKET)


def live(kubectl: Kubectl, kubeconfig: Path, folder: Path) -> None:
    """Live through it; what is made lies in the folder."""
    programs = [Path(sys.executable).parent, *(binaries.path(name).parent for name in ("kubectl", "helm", "promtool"))]
    path = ":".join([*map(str, programs), os.environ["PATH"]])
    with tempfile.TemporaryDirectory() as name, store(kubectl) as reached:
        access = Path(name, "kubeconfig.json")
        access.write_text(kubectl("config", "view", "--raw", "--output=json"))
        stack = Stack(kubectl, access, Path(name))
        with stack.installed(), stack.watching(["# EOF\n"]), stack.following() as prometheus:
            script = ["bash", installed.EXAMPLES / "lifecycle/lifecycle.sh", folder]
            own = {"KUBECONFIG": str(kubeconfig), "PATH": path, "PROMETHEUS": prometheus}
            subprocess.run(script, env=os.environ | own | reached, check=True)


def main() -> int:
    """Bring a cluster, tell the story on it, take it away."""
    folder = installed.ROOT / ".lifecycle"
    with contextlib.ExitStack() as stack:
        with step("a cluster with the operator"):
            kubeconfig = stack.enter_context(installed.cluster(Home("lifecycle")))
            kubectl = stack.enter_context(installed.namespace(kubeconfig))
            stack.enter_context(installed.operator(kubectl, kubeconfig))
        live(kubectl, kubeconfig, folder)
    say(f"what was made on the way, with reports and pictures, is in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
