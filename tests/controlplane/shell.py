"""A shell in which `kubectl modelservice` works, because somebody has copied the plugin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cluster import binaries
from modelservice_operator.plugin.archive import archive


def install(folder: Path) -> Path:
    """Copy the plugin into a folder, and return where it is."""
    program = folder / "kubectl-modelservice"
    program.write_bytes(archive())
    program.chmod(0o755)
    return program


class Shell:
    """Runs kubectl as a user does who has the plugin on the PATH."""

    def __init__(self, plugins: Path, kubeconfig: Path, cache: Path) -> None:
        paths = [
            str(plugins),
            str(binaries.path("kubectl").parent),
            str(Path(sys.executable).parent),
            os.environ["PATH"],
        ]
        self.environment = os.environ | {
            "PATH": ":".join(paths),
            "KUBECONFIG": str(kubeconfig),
            "KUBECACHEDIR": str(cache),
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["kubectl", "modelservice", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def answer(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def refusal(self, *arguments: str) -> str:
        """Return the sentence of a command that fails; nothing else is said, and nothing is printed."""
        done = self.run(*arguments)
        assert (done.returncode, done.stdout) == (1, ""), done
        [sentence] = done.stderr.splitlines()
        return sentence
