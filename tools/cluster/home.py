"""Where clusters live: one directory each, named after the cluster, that says which driver it belongs to."""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.controlplane import ControlPlaneDriver
from cluster.drivers import Driver
from cluster.errors import ClusterError
from cluster.given import Given
from cluster.kind import Kind
from cluster.node import Node

ROOT = Path(__file__).resolve().parents[2] / ".cluster"


class Home:
    """The directory of one cluster."""

    def __init__(self, name: str, root: Path = ROOT) -> None:
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?", name):
            raise ClusterError(f'"{name}" is no name for a cluster: lower-case letters, digits and dashes, 32 at most.')
        self.name = name
        self.root = root
        self.directory = root.resolve() / name
        self.kubeconfig = self.directory / "kubeconfig"
        self._record = self.directory / "cluster.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one that starts or ends this cluster; a killed holder lets go by itself."""
        self.root.mkdir(exist_ok=True)
        path = self.root / f".{self.name}.lock"
        while True:
            with path.open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not _is(path, lock.fileno()):
                    continue  # the one before us removed this file; others will lock a new one
                try:
                    yield
                finally:
                    path.unlink()
                return

    @property
    def driver_name(self) -> str | None:
        """Which driver the cluster was started with, if one was."""
        driver = self._read().get("driver")
        return None if driver is None else str(driver)

    def driver(self, name: str, *, controllers: bool = False) -> Driver:
        """Return a driver for this cluster."""
        match name:
            case "controlplane":
                return ControlPlaneDriver(self.directory, controllers=controllers)
            case "kwok":
                return ControlPlaneDriver(self.directory, kwok=True)
            case "node":
                return Node(self.directory)
            case "kind":
                return Kind(self.directory)
            case "given":
                return Given(self.directory)
        raise ClusterError(f'{self._record} names the driver "{name}", which this version does not know.')

    @property
    def is_complete(self) -> bool:
        """Whether its `up` came to its end."""
        return bool(self._read().get("complete"))

    def create(self, driver: str) -> None:
        """Make the directory and write down, before anything is started, who will have to end it."""
        self.directory.mkdir(parents=True)
        self._record.write_text(json.dumps({"driver": driver}) + "\n")

    def complete(self) -> None:
        """Write down that the cluster came up."""
        self._record.write_text(json.dumps({**self._read(), "complete": True}) + "\n")

    def _read(self) -> dict[str, object]:
        try:
            return dict(json.loads(self._record.read_text()))
        except (FileNotFoundError, ValueError):  # never written, or only half
            return {}

    def remove(self) -> None:
        """Remove the directory and everything in it, if it is there."""
        if self.directory.exists():
            shutil.rmtree(self.directory)


def names(root: Path = ROOT) -> list[str]:
    """Return the names of all clusters that have a directory."""
    return (
        sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != ".")
        if root.is_dir()
        else []
    )


def _is(path: Path, descriptor: int) -> bool:
    """Tell whether an open file is still the one at that path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
