"""Profiles `controlplane` and `kwok`: etcd and an API server on free loopback ports; nothing runs in pods.

For tests: `with ControlPlane(directory) as plane: ...`.
"""

import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cluster import access, binaries, components, kwok, ports, preflight, processes, waiting
from cluster.access import Access
from cluster.api import Api
from cluster.drivers import Health, no_pods
from cluster.pins import FOR_CONTROLLERS
from cluster.pki import Authority, apiserver_names
from cluster.progress import step

if TYPE_CHECKING:
    import subprocess

_START_SECONDS = 120.0  # four seconds on an idle machine; a loaded one gets its time
_SERVICE_ADDRESS = "10.97.0.1"


class ControlPlane:
    """An etcd and an API server of our own, thrown away after use.

    `controllers` adds the controller manager and the scheduler. Without them nobody makes the `default` service
    accounts, so the server then does not insist that a pod has one. `kwok` adds kwok to these: every node that is
    created comes up, and so do its pods. `api_flags` are added to the server's command line,
    `controller_flags` to that of the controller manager.
    """

    def __init__(
        self,
        directory: Path,
        *,
        controllers: bool = False,
        kwok: bool = False,
        api_flags: Sequence[str] = (),
        controller_flags: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.controllers = controllers = controllers or kwok
        self.kwok = kwok
        self.kubeconfig = directory / "kubeconfig"
        self._api_flags = (
            "--endpoint-reconciler-type=none",  # the service "kubernetes" cannot lead to a loopback address
            *(() if controllers else ("--disable-admission-plugins=ServiceAccount",)),
            *api_flags,
        )
        self._controller_flags = tuple(controller_flags)
        self._outlives_us = False
        self._settings: components.Settings | None = None
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    # -- what clients need

    @property
    def url(self) -> str:
        """Where the API server listens."""
        return f"https://127.0.0.1:{self.settings.api_port}"

    @property
    def etcd_url(self) -> str:
        """Where etcd listens, for tests that compact it."""
        return self.settings.etcd_url

    @property
    def etcd_data(self) -> Path:
        """Where etcd keeps everything, for those who put it back to an earlier state."""
        return self.settings.etcd_data

    @property
    def ca(self) -> Path:
        """The certificate of the authority that vouches for the API server."""
        return self.settings.pki / "ca.crt"

    @property
    def admin_token(self) -> str:
        """The bearer token of a user who may do everything."""
        return Access.read(self.kubeconfig).token

    @property
    def settings(self) -> components.Settings:
        """Ports and folders; they stay the same over restarts."""
        if self._settings is None:
            etcd_port, peer_port, api_port = ports.free(3)
            self._settings = components.Settings(
                self.directory, etcd_port, peer_port, api_port, api_flags=self._api_flags
            )
        return self._settings

    # -- life

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs that it is made of."""
        controllers = FOR_CONTROLLERS if self.controllers else ()
        return ("etcd", "kube-apiserver", *controllers, *(("kwok",) if self.kwok else ()))

    def start(self, *, outlives_us: bool = False) -> None:
        """Start everything on empty data and return when the API server is ready.

        Unless it outlives us it ends with the thread that calls this, even if that is killed.
        """
        self._outlives_us = outlives_us
        (self.directory / "log").mkdir(parents=True)
        self._make_credentials()
        self.start_again()

    def start_again(self) -> None:
        """Start everything on the data that is there, after `stop`."""
        programs = binaries.paths(self.programs)
        self._spawn("etcd", components.etcd(programs["etcd"], self.settings))
        self.start_api()
        if self.controllers:
            manager, scheduler = map(self._kubeconfig_of, FOR_CONTROLLERS)
            self._spawn(
                "kube-controller-manager",
                (
                    *components.controller_manager(programs["kube-controller-manager"], self.settings, manager),
                    *self._controller_flags,
                ),
            )
            self._spawn("kube-scheduler", components.scheduler(programs["kube-scheduler"], scheduler))
        if self.kwok:
            self._spawn("kwok", kwok.command(programs["kwok"], self.kubeconfig))

    def pid(self, program: str) -> int:
        """The process of one of the programs."""
        return self._running[program].pid

    def start_api(self) -> None:
        """Start the API server (again, on the same data and port) and return when it is ready."""
        program = binaries.path("kube-apiserver")
        self._spawn("kube-apiserver", components.apiserver(program, self.settings))
        api = Api(Access.read(self.kubeconfig))
        waiting.until(
            api.is_ready,
            f"the API server at {self.url} is not ready; its log is in {self.directory / 'log'}",
            seconds=_START_SECONDS,
            hopeless=self._dead_process,
        )

    def kill_api(self) -> None:
        """Kill the API server, as a crash would."""
        server = self._running.pop("kube-apiserver")
        server.kill()
        server.wait()

    def pause_api(self) -> None:
        """Freeze the API server: connections stay open, nothing is answered."""
        self._running["kube-apiserver"].send_signal(signal.SIGSTOP)

    def resume_api(self) -> None:
        """Let a frozen API server go on."""
        self._running["kube-apiserver"].send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill everything; the directory stays, for a look at the logs."""
        processes.kill_all(self.directory)
        for process in self._running.values():
            process.wait()
        self._running.clear()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- parts

    def _make_credentials(self) -> None:
        authority = Authority.create(self.settings.pki)
        authority.issue("apiserver", "/CN=kube-apiserver", apiserver_names(_SERVICE_ADDRESS))
        tokens = access.create_tokens(self.settings.pki / "tokens.csv", access.CONTROLPLANE_USERS)
        admin = Access(self.url, authority.certificate.read_text(), tokens["admin"])
        admin.write(self.kubeconfig)
        for name in FOR_CONTROLLERS:
            replace(admin, token=tokens[f"system:{name}"]).write(self._kubeconfig_of(name))

    def _kubeconfig_of(self, name: str) -> Path:
        return self.settings.pki / f"{name}.kubeconfig"

    def _spawn(self, name: str, command: Sequence[str]) -> None:
        self._running[name] = processes.spawn(
            command,
            directory=self.directory,
            log=self.directory / "log" / f"{name}.log",
            outlives_us=self._outlives_us,
        )

    def _dead_process(self) -> str | None:
        for name, process in self._running.items():
            if process.poll() is not None:
                log = self.directory / "log" / f"{name}.log"
                return f"{name} ended with status {process.returncode}; the end of {log}:\n{processes.tail(log)}"
        return None


class ControlPlaneDriver:
    """The control plane as a cluster that lives on after the command that started it."""

    def __init__(self, directory: Path, *, controllers: bool = False, kwok: bool = False) -> None:
        self._plane = ControlPlane(directory, controllers=controllers, kwok=kwok)

    def check(self) -> None:
        """Look for the programs."""
        preflight.check_controlplane(self._plane.programs)

    def up(self) -> None:
        """Start it."""
        with step(f"starting {', '.join(self._plane.programs)}"):
            self._plane.start(outlives_us=True)

    def health(self) -> Health:
        """Ask the API server."""
        try:
            api = Api(Access.read(self._plane.kubeconfig))
        except FileNotFoundError:
            return Health(ok=False, alive=False, lines=("the control plane never came up",))
        ready, alive = api.is_ready(), bool(processes.find(self._plane.directory))
        said = f"control plane without real pods, API server {api.url} {'is' if ready else 'is NOT'} ready"
        return Health(ready, alive, (said,))

    def load_image(self, archive: Path) -> None:
        """Refuse: nothing runs in pods here."""
        raise no_pods(archive)

    def down(self) -> None:
        """Kill it."""
        self._plane.stop()
