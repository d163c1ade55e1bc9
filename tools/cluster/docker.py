"""Docker's daemon: the user's, where it answers, else one of our own in an enclave, from Debian's packages.

The machine does not know ours: nothing is installed, and its socket, its images and its containers lie in the cluster's
directory. Its published ports are on the enclave's address, which the host reaches by the cable.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from cluster import docker_config, network, preflight, runtime
from cluster.docker_config import DockerSettings
from cluster.enclave import Enclave
from cluster.errors import ClusterError
from cluster.progress import step

_PROGRAMS = ("containerd", "dockerd", "runc", "iptables-nft", "ip6tables-nft")
_SYS_RESOURCE = 24  # linux/capability.h


def version(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the version of the daemon that answers, if one does."""
    program = shutil.which("docker", path=environment.get("PATH"))
    if not program:
        return None
    ask = [program, "version", "--format={{.Server.Version}}"]
    try:
        asked = subprocess.run(ask, env=environment, capture_output=True, text=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None


class Daemon(Enclave):
    """The daemon of our own whose state is in one directory."""

    @property
    def exists(self) -> bool:
        """Whether it was ever started."""
        return (self.directory / "plan.json").exists()

    def check(self) -> None:
        """Try what it needs."""
        preflight.check_docker(self.directory)

    def environment(self, ours: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Return the environment in which clients, `kind` too, talk to this daemon."""
        found = runtime.find_docker()
        return {**ours, "PATH": found.path, "DOCKER_HOST": f"unix://{self.directory / 'docker.sock'}"}

    def up(self) -> None:
        """Start it and return when it answers."""
        found = runtime.find_docker()
        found.enter()
        settings = DockerSettings(
            self.directory,
            network.choose(network.routes()).slot,
            self.cgroup,
            {name: found.program(name) for name in _PROGRAMS},
            has_modules=Path("/lib/modules").exists(),
        )
        clients = self.environment()
        with step("starting a docker daemon of our own"):
            for file, text in docker_config.files(settings).items():
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            self._put_first_on_path(settings.programs)
            self.start(self.network())
            self.wait(lambda: version(clients) is not None, "docker's daemon does not answer")

    def load(self, archive: Path) -> None:
        """Give it the images of an archive."""
        with step(f"loading {archive.name} ({archive.stat().st_size / 1e6:.0f} MB) into docker"):
            command = ["docker", "load", "--quiet", "--input", str(archive)]
            ended = subprocess.run(command, env=self.environment(), capture_output=True, text=True, check=False)
        if ended.returncode:
            raise ClusterError(f"docker refused {archive}: {ended.stderr.strip()}")

    def _put_first_on_path(self, programs: Mapping[str, Path]) -> None:
        """Make the names under which docker looks for programs, which unpacked packages may lack."""
        folder = self.directory / "bin"
        folder.mkdir()
        (folder / "iptables").symlink_to(programs["iptables-nft"])
        (folder / "ip6tables").symlink_to(programs["ip6tables-nft"])
        if not _may_have(_SYS_RESOURCE):
            (folder / "runc").write_text(docker_config.RUNC.format(runc=programs["runc"]))
            (folder / "runc").chmod(0o755)
        os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"


def _may_have(capability: int) -> bool:
    """Tell whether a process that we start may have a capability."""
    status = Path("/proc/self/status").read_text()
    bounds = next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:"))
    return bool(int(bounds, 16) >> capability & 1)
