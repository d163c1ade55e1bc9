"""Build one pinned Go program into the cache: reproducible, and safe when several callers want it at once.

The Go build cache is the user's own: a second build of anything costs seconds, and Go itself drops what was not used
for five days. `go clean -cache -modcache` drops the rest.
"""

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path

from cluster.errors import ClusterError, MissingError
from cluster.pins import Tool
from cluster.progress import say, step

_SIGN_OF_LIFE_SECONDS = 30.0


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
        workshop = target.parent / "unfinished"
        shutil.rmtree(workshop, ignore_errors=True)  # of a build that was killed: we hold the lock
        workshop.mkdir()
        with step(f"building {tool.name} {tool.version}"):
            _run(tool, workshop)
        (workshop / tool.name).replace(target)  # a rename: nobody ever sees half a program
        shutil.rmtree(workshop)
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


def module(wrapper: Path, name: str) -> Path:
    """Return the source of a Go module, as a wrapper's go.sum pins it; without the network once it is there."""
    if not shutil.which("go"):
        raise MissingError(f"The files of the Go module {name} come with Go: install Go 1.26 or newer.")
    found = subprocess.run(
        ["go", "mod", "download", "-json", name],
        cwd=wrapper,
        env={"GOTOOLCHAIN": "local", **os.environ, "GOFLAGS": "-mod=readonly", "GOWORK": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        raise ClusterError(f"Getting the Go module {name} failed:\n{found.stdout}{found.stderr}")
    return Path(json.loads(found.stdout)["Dir"])


def _run(tool: Tool, workshop: Path) -> None:
    # No cgo: the programs must run in empty images, and no C compiler need be here.
    fixed = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOTMPDIR": str(workshop)}
    compiler = subprocess.Popen(
        command(tool, workshop / tool.name),
        cwd=tool.source,
        env={"GOTOOLCHAIN": "local", **os.environ, **fixed},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    errors = _wait(compiler, tool)
    if compiler.returncode:
        raise ClusterError(f"Building {tool.name} {tool.version} in {tool.source} failed:\n{errors[-4000:]}")


def _wait(compiler: "subprocess.Popen[str]", tool: Tool) -> str:
    """Wait for the compiler, and show a person that something still goes on."""
    while True:
        try:
            return compiler.communicate(timeout=_SIGN_OF_LIFE_SECONDS)[1]
        except subprocess.TimeoutExpired:
            say(f"still building {tool.name}; the largest takes minutes, but only once")
