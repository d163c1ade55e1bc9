"""What a ModelService and its Deployments say over a time, as a watch tells it: no moment in between is missed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from cluster import binaries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@contextlib.contextmanager
def watched(kubeconfig: Path, namespace: str, kind: str, *fields: str) -> Iterator[list[tuple[float, list[str]]]]:
    """Give a list that grows with every change of an object of a kind: when (time.monotonic), and these fields."""
    found: list[tuple[float, list[str]]] = []
    template = "|".join(f"{{{field}}}" for field in fields) + "\n"
    watch = subprocess.Popen(
        [binaries.path("kubectl"), f"--namespace={namespace}", "get", kind, "--watch", f"--output=jsonpath={template}"],
        env=os.environ | {"KUBECONFIG": str(kubeconfig)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watch.stdout is not None
    lines = watch.stdout

    def read() -> None:
        found.extend((time.monotonic(), line.rstrip("\n").split("|")) for line in lines)

    thread = threading.Thread(target=read, name=f"watch of {kind}")
    thread.start()
    try:
        yield found
    finally:
        watch.terminate()
        watch.wait(timeout=30)
        thread.join()
        lines.close()


def numbers(seen: Sequence[tuple[float, list[str]]], field: int = 0) -> list[int]:
    """Give the numbers of a field in the order in which they were; one that is absent is none."""
    return [int(fields[field]) for _, fields in seen if fields[field]]
