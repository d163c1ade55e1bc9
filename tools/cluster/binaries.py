"""Where each program is found: `$KUBEBUILDER_ASSETS`, then PATH, then our cache, else it is built."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from cluster import build
from cluster.errors import ClusterError
from cluster.pins import TOOLS, Tool, Version, version_in


def cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of everything that is worth keeping between clusters."""
    home = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "modelservice"


def cached(tool: Tool, environment: Mapping[str, str] = os.environ) -> Path:
    """Return where our own build of a tool lies, whether or not it is there yet."""
    return cache(environment) / "bin" / f"{tool.name}-{full_version(tool)}" / tool.name


def full_version(tool: Tool) -> str:
    """Return the pinned version; for a program of our own also what its source is."""
    if not tool.is_ours:
        return tool.version
    content = b"".join((tool.source / name).read_bytes() for name in ("main.go", "go.mod"))
    return f"{tool.version}-{hashlib.sha256(content).hexdigest()[:8]}"


def find(tool: Tool, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Find a suitable program without building it; what does not suit is passed over."""
    for candidate in installed(tool.name, environment) if tool.asks else ():
        version = version_of(candidate, tool)
        if version and tool.suits(version):
            return candidate
    own = cached(tool, environment)
    return own if own.exists() else None


def installed(name: str, environment: Mapping[str, str]) -> Iterable[Path]:
    """Name the programs that the user or the system put there, the user's word first."""
    for folders in (environment.get("KUBEBUILDER_ASSETS", ""), environment.get("PATH", "")):
        found = shutil.which(name, path=folders) if folders else None
        if found:
            yield Path(found).absolute()


def version_of(program: Path, tool: Tool) -> Version | None:
    """Ask a program for its version; one that cannot answer is no candidate."""
    try:
        answer = subprocess.run([program, *tool.asks], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return version_in(answer.stdout + answer.stderr)


def path(name: str) -> Path:
    """Return the program of that name, built if it must be."""
    if name not in TOOLS:
        raise ClusterError(f'"{name}" is none of our programs; they are {", ".join(TOOLS)}.')
    tool = TOOLS[name]
    return find(tool) or build.build(tool, cached(tool))


def own(name: str) -> Path:
    """Return our own build of a program: static and of the very version that we pin, as an image must have it."""
    return build.build(TOOLS[name], cached(TOOLS[name]))


def paths(names: Iterable[str]) -> dict[str, Path]:
    """Return several programs, built one after the other: one build already uses all cores."""
    return {name: path(name) for name in names}
