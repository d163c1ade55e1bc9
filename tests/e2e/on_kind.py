"""`make test-kind`: the product on kind, from an empty docker daemon to an answered request, and back to nothing.

The daemon is the user's, where one answers; else one of our own with a node image that is made here. Afterwards an
`up` is killed half-way, and nothing may be left of that either. The last line says in JSON what was shown, or what this
machine lacks: then nothing was started, and the exit code is 0.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from cluster import binaries, cli, home, kind_image
from cluster.errors import ClusterError, MissingError
from cluster.home import Home
from cluster.kind import Kind
from cluster.pins import KIND
from demo import story
from demo.kubectl import Kubectl
from e2e.footprint import changed, footprint

HERE = Home("on-kind")
CLUSTER = Kind(HERE.directory)
TOOL = [sys.executable, str(Path(home.__file__).parent)]


def main() -> int:
    """Show it; return 0 when it was shown."""
    CLUSTER.check()
    delete()  # what is left of a run that was killed
    before = footprint(HERE.directory)
    try:
        shown = {**story.tell(HERE.name, "kind"), **cluster()}
    finally:
        began = time.monotonic()
        delete()
    shown["seconds_to_delete"] = round(time.monotonic() - began, 1)
    shown["left"] = left(before)
    killed_half_way()
    shown["left_when_killed"] = left(before)
    print(json.dumps(shown))
    return 0 if shown["predicted"] == shown["label"] and not shown["left"] + shown["left_when_killed"] else 1


def left(before: set[str]) -> list[str]:
    """Return what is there now and was not before; what is gone was not ours."""
    return [each for each in changed(HERE.directory, before) if each not in before]


def delete() -> None:
    """End the cluster as a user does."""
    if code := cli.main(["down", "--name", HERE.name]):
        raise ClusterError(f"`python3 tools/cluster down --name {HERE.name}` ended with status {code}.")


def cluster() -> dict[str, object]:
    """Tell what the cluster is, once all that came with it is ready, its DNS too."""
    kubectl = Kubectl(binaries.path("kubectl"), HERE.kubeconfig)
    kubectl("wait", "--namespace=kube-system", "--for=condition=Ready", "pods", "--all", "--timeout=180s")
    (node,) = kubectl.get("nodes")["items"]
    ours = CLUSTER._daemon.exists
    return {
        "daemon": f"docker {CLUSTER.daemon_version}, {'of our own' if ours else 'which was here'}",
        "kind": KIND,
        "kubernetes": node["status"]["nodeInfo"]["kubeletVersion"],
        "node_image": kind_image.name() if ours else os.environ.get("KIND_NODE_IMAGE", "kind's own"),
        "asked_at": CLUSTER.outside,
    }


def killed_half_way() -> None:
    """Kill an `up` while kind starts its node, then end what there is of the cluster."""
    command = [*TOOL, "up", "--driver=kind", "--name", HERE.name]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tool:
        while tool.poll() is None and not has_node():
            time.sleep(0.1)
        if tool.poll() is not None:
            raise ClusterError(f"`{' '.join(command)}` ended with status {tool.returncode} before it could be killed.")
        tool.kill()
    delete()


def has_node() -> bool:
    """Tell whether docker has a container of the cluster."""
    with contextlib.suppress(OSError, ClusterError):
        ask = ["docker", "ps", "--all", "--quiet", f"--filter=label=io.x-k8s.kind.cluster={CLUSTER.cluster}"]
        return bool(subprocess.run(ask, env=CLUSTER._clients(), capture_output=True, check=False).stdout)
    return False


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MissingError as missing:
        print(json.dumps({"skipped": str(missing)}))
    except ClusterError as error:
        print(f"test-kind: {error}", file=sys.stderr)
        sys.exit(1)
