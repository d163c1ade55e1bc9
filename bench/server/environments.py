"""One virtual environment per peer, in the cache: pinned and hashed, torch hard-linked from uv's own cache."""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from cluster.binaries import cache

PEERS = Path(__file__).with_name("peers")


class CannotInstallError(Exception):
    """A peer cannot be had on this machine."""


def python_of(peer: str) -> Path:
    """Return the interpreter of a peer's environment; make that first if there is none for these requirements."""
    requirements = PEERS / peer / "requirements.txt"
    stamp = f"{sys.version} {requirements.read_text()}"
    home = cache() / "peers" / f"{peer}-{hashlib.sha256(stamp.encode()).hexdigest()[:8]}"
    python = home / "bin" / "python"
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            for old in home.parent.glob(f"{peer}-*"):
                shutil.rmtree(old)
            _uv("venv", "--python", sys.executable, str(home))
            install = ("pip", "install", "--require-hashes", "--compile-bytecode")
            _uv(*install, "--python", str(python), "--requirement", str(requirements))
            (home / "complete").touch()
    return python


def version_of(peer: str) -> str:
    """Return which version of a peer that is."""
    pin = re.search(rf"^{peer}==(\S+)", (PEERS / peer / "requirements.txt").read_text(), re.MULTILINE)
    assert pin, f"{peer} is not among its own requirements"
    return pin[1]


def _uv(*arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("uv")), *arguments, "--quiet"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise CannotInstallError(" ".join(ended.stderr.split())[:300] or f"uv ended with {ended.returncode}")
