"""A pod that asks models as their users in the cluster do: by name, through the Service, over the pod network."""

from __future__ import annotations

import contextlib
import functools
import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waiting import until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Sequence

    from demo.kubectl import Kubectl

IMAGE = "localhost/modelservice/model-server:dev"
NAME = "client"
MODELS = "/models"  # where it has the claim, to write to
PORT = 8080
ASKERS = 6
_LOAD = Path(__file__).with_name("load.py").read_text()
_GET = "import sys, urllib.request as u; sys.stdout.buffer.write(u.urlopen(sys.argv[1], timeout=10).read())"
_POST = (
    "import sys, urllib.request as u; q = u.Request(sys.argv[1], sys.stdin.buffer.read(), "
    "{'content-type': 'application/json'}); sys.stdout.buffer.write(u.urlopen(q, timeout=15).read())"
)
# What a namespace of Kubernetes' level "restricted" asks of every container.
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(name: str, program: Sequence[str], volumes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a pod that runs a program in the server's image, with each volume mounted at `/NAME`."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": name,
                    "image": IMAGE,
                    "command": list(program),
                    "securityContext": RESTRICTED,
                    "volumeMounts": [{"name": volume, "mountPath": f"/{volume}"} for volume in volumes],
                }
            ],
            "volumes": [{"name": volume, **source} for volume, source in volumes.items()],
        },
    }


@dataclass
class Load:
    """What the askers of `load.py` told last."""

    answers: dict[str, int] = field(default_factory=dict)  # by pod
    last: dict[str, float] = field(default_factory=dict)  # by pod, when it answered last, in seconds since 1970
    failures: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0
    order: Callable[[int], None] = field(default=lambda _: None, repr=False)
    """Has so many askers ask from now on."""

    @property
    def total(self) -> int:
        """All good answers."""
        return sum(self.answers.values())

    def until_answered_by(self, *pods: str) -> None:
        """Wait until each of the pods has had its share of the requests."""
        until(lambda: all(self.answers.get(pod, 0) for pod in pods), f"requests reach {pods}", details=lambda: self)

    def until_more(self, number: int = 20) -> None:
        """Wait for so many further requests."""
        wanted = self.total + number
        until(lambda: self.total >= wanted, "requests are answered", details=lambda: self)


class Client:
    """Runs programs in the client's pod."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl

    def run(self, *command: str, given: str = "") -> str:
        """Run a command in the pod and return what it printed."""
        return self._kubectl("exec", "--stdin", NAME, "--", *command, given=given)

    def get(self, url: str) -> str:
        """Return what an address answers."""
        return self.run("python3", "-c", _GET, url)

    def post(self, url: str, body: str) -> dict[str, Any]:
        """Return what an address answers to this JSON."""
        answered: dict[str, Any] = json.loads(self.run("python3", "-c", _POST, url, given=body))
        return answered

    def infer(self, service: str, inputs: list[list[float]], *, model: str = "") -> list[list[float]]:
        """Ask a model about some rows, and return its rows."""
        url = f"http://{service}:{PORT}/v2/models/{model or service}/infer"
        (output,) = self.post(url, _body(inputs))["outputs"]
        width = output["shape"][1]
        return [output["data"][start : start + width] for start in range(0, len(output["data"]), width)]

    @contextlib.contextmanager
    def load(
        self, service: str, inputs: list[list[float]], *, model: str = "", askers: int = ASKERS, period: float = 0.0
    ) -> Iterator[Load]:
        """Keep a model busy; what is told in the end is all of it. `period`: each asks once in so many seconds."""
        told = Load()
        place = [service, str(PORT), f"/v2/models/{model or service}/infer", _body(inputs)]
        asks = ["python3", "-u", "-c", _LOAD, *place, str(askers), str(period)]
        with self._kubectl.start("exec", "--stdin", NAME, "--", *asks) as process:
            listener = threading.Thread(target=_listen, args=(process, told))
            listener.start()
            told.order = functools.partial(_order, process)
            try:
                told.until_more()
                yield told
                told.until_more()  # what happened may show itself only now
            finally:
                assert process.stdin is not None
                process.stdin.close()
                listener.join()


def _order(process: subprocess.Popen[str], askers: int) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{askers}\n")
    process.stdin.flush()


def _listen(process: subprocess.Popen[str], told: Load) -> None:
    for line in process.stdout or ():
        news = json.loads(line)
        told.answers, told.last, told.failures, told.slowest_seconds = news.values()


def _body(inputs: list[list[float]]) -> str:
    data = [number for row in inputs for number in row]
    tensor = {"name": "x", "datatype": "FP32", "shape": [len(inputs), len(inputs[0])], "data": data}
    return json.dumps({"inputs": [tensor]})
