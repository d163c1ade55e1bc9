"""What a managed cluster would have: room for a claim. And what the host brings: the tables to learn from."""

import base64
import os
from collections.abc import Sequence
from pathlib import Path

from demo.kubectl import Kubectl, Manifest

_SERVER_USER = 10001
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def has_default_class(kubectl: Kubectl) -> bool:
    """Tell whether the cluster provides volumes by itself."""
    classes = kubectl.get("storageclasses")["items"]
    return any(each["metadata"].get("annotations", {}).get(_DEFAULT_CLASS) == "true" for each in classes)


def volume(claim: str, folder: Path) -> Manifest:
    """Return a volume in a folder of the node, kept for one claim."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"demo-{claim}"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": "default", "name": claim},
            "hostPath": {"path": str(folder), "type": "Directory"},
        },
    }


def make_room(folder: Path) -> None:
    """Make a folder into which the server's user may write: kubelet does not see to that for folders of the host."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, _SERVER_USER, _SERVER_USER)


def tables(name: str, files: Sequence[Path]) -> Manifest:
    """Return a ConfigMap with these files."""
    content = {file.name: base64.b64encode(file.read_bytes()).decode() for file in files}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "binaryData": content}
