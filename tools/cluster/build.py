"""Build one pinned Go program into the cache: reproducible, and safe when several callers want it at once.

The Go build cache is the user's own: a second build of anything costs seconds, and Go itself drops what was not used
for five days. `go clean -cache -modcache` drops the rest.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from cluster.errors import ClusterError, MissingError
from cluster.pins import Tool
from cluster.progress import say, step


def build(tool: Tool, target: Path) -> Path:
    """Build a tool to `target` and return it; who comes second waits for who came first."""
    if not shutil.which("go"):
        raise MissingError(
            f"{tool.name} {tool.version} is neither installed nor in the cache, and building it needs Go: "
            "install Go 1.26 or newer, or set KUBEBUILDER_ASSETS to a folder that holds the programs."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another build of {tool.name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return target
        with step(f"building {tool.name} {tool.version}"), tempfile.TemporaryDirectory(dir=target.parent) as folder:
            made = Path(folder) / tool.name
            _run(tool, made)
            made.replace(target)  # a rename: nobody ever sees half a program
    return target


def command(tool: Tool, target: Path) -> list[str]:
    """Return the compiler's command line."""
    stamps = [f"-X {variable}={value}" for variable, value in tool.stamps.items()]
    # -mod=readonly: exactly what go.sum pins. -buildvcs=false: the checkout's state is not part of the program.
    return [
        "go",
        "build",
        "-mod=readonly",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags",
        " ".join(["-s", "-w", *stamps]),
        "-o",
        str(target),
        tool.package,
    ]


def _run(tool: Tool, target: Path) -> None:
    # No cgo: the programs must run in empty images, and no C compiler need be here.
    environment = {"GOTOOLCHAIN": "local", **os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    ended = subprocess.run(
        command(tool, target), cwd=tool.source, env=environment, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise ClusterError(f"Building {tool.name} {tool.version} in {tool.source} failed:\n{ended.stderr[-4000:]}")
