"""Profile `node`: one real node with real pods, in namespaces of its own, from the first process to the last mount."""

import http.client
import json
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

from cluster import access, archives, binaries, network, node_config, pins, preflight, runtime
from cluster.access import Access
from cluster.api import Api
from cluster.drivers import Health
from cluster.enclave import Enclave
from cluster.errors import ClusterError
from cluster.network import Network
from cluster.node_config import NODE, NodeSettings
from cluster.pki import Authority, apiserver_names
from cluster.progress import say, step


class Node(Enclave):
    """The node whose state is in one directory."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.kubeconfig = directory / "kubeconfig"

    @property
    def pause_image(self) -> str:
        """The image that holds every pod's namespaces; any pod may run it too."""
        return f"localhost/modelservice/pause:{binaries.full_version(pins.TOOLS['pause'])}"

    # -- the driver

    def check(self) -> None:
        """Try what a node needs."""
        preflight.check_node(self.directory)

    def up(self) -> None:
        """Start the node and return when pods can be made."""
        programs = binaries.paths(pins.FOR_NODE)
        found = runtime.find()
        found.enter()
        settings = self._settings(programs, found)
        with step("starting the node"):
            self._write(settings)
            self.start(settings.network)
            self._import_pause(programs["pause"], settings.pause_image)
            self._wait_until_usable(settings.network)

    def health(self) -> Health:
        """Look at the first process, the API server, the node and DNS."""
        init = self.init()
        if init is None:
            return Health(
                ok=False, alive=False, lines=("the node's first process is gone; `down` clears what is left",)
            )
        api, ours = Api(Access.read(self.kubeconfig)), self.network()
        checks = {
            "API server is ready": api.is_ready(),
            "node is Ready": _node_is_ready(api),
            "DNS is ready": _dns_is_ready(ours),
        }
        said = [f"{'' if ok else 'NOT: '}{what}" for what, ok in checks.items()]
        lines = (f"node with process {init}, addresses {ours.everything}, API server {api.url}", ", ".join(said))
        return Health(ok=all(checks.values()), alive=True, lines=lines)

    def load_image(self, archive: Path) -> None:
        """Import the images of an archive that the node does not have yet."""
        present = self._images()
        missing = [image for image in archives.images(archive) if not _has(present, image)]
        if not missing:
            say(f"{archive.name}: the node has it already")
            return
        with step(f"loading {archive.name} ({archive.stat().st_size / 1e6:.0f} MB) into the node"):
            self._import(archive)
            # containerd's CRI lists an image's id when a name is new, but not when a name moves to another image.
            for image in missing:
                for name in image.names[:1]:
                    tag = self._ctr("images", "tag", "--force", name, image.id)
                    subprocess.run(tag, capture_output=True, check=True)

    # -- inside

    def _ctr(self, *arguments: str) -> list[str]:
        inside = ["nsenter", f"--target={self.first()}", "--mount", "--"]
        program = json.loads((self.directory / "plan.json").read_text())["ctr"]
        return [*inside, program, "--address", node_config.CONTAINERD_SOCKET, "--namespace", "k8s.io", *arguments]

    # -- steps of `up`

    def _settings(self, programs: dict[str, Path], found: runtime.Runtime) -> NodeSettings:
        return NodeSettings(
            directory=self.directory,
            network=network.choose(network.routes()),
            cgroup=self.cgroup,
            programs={**programs, **{name: found.program(name) for name in runtime.PROGRAMS}},
            plugins=found.plugins,
            pause_image=self.pause_image,
        )

    def _write(self, settings: NodeSettings) -> None:
        ours = settings.network
        authority = Authority.create(settings.pki)
        authority.issue("apiserver", "/CN=kube-apiserver", apiserver_names(ours.api_service, ours.node))
        authority.issue("kubelet", f"/CN={NODE}", [NODE, ours.node])
        authority.issue("kubelet-client", "/CN=kube-apiserver/O=system:masters")
        for file, text in node_config.files(settings).items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        tokens = access.create_tokens(settings.pki / "tokens.csv", node_config.USERS)
        inside = Access("https://127.0.0.1:6443", authority.certificate.read_text(), tokens["admin"])
        for user, token in tokens.items():
            replace(inside, token=token).write(settings.kubeconfig(user))
        replace(inside, url=f"https://{ours.node}:6443").write(self.kubeconfig)

    def _import_pause(self, program: Path, image: str) -> None:
        archive = self.directory / "pause.tar"
        archives.write(archive, name=image, program=program)
        self.wait(
            lambda: subprocess.run(self._ctr("version"), capture_output=True, check=False).returncode == 0,
            "containerd does not answer",
        )
        self._import(archive)

    def _wait_until_usable(self, ours: Network) -> None:
        api = Api(Access.read(self.kubeconfig))
        self.wait(api.is_ready, f"the API server at {api.url} is not ready")
        for path, content in node_config.dns_objects(ours).items():
            api.create(path, content)
        self.wait(lambda: _node_is_ready(api), "the node is not Ready")
        # Pods made before this account exists are refused.
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self.wait(lambda: api.get(account) is not None, "the default service account does not exist")
        self.wait(lambda: _dns_is_ready(ours), "CoreDNS is not ready")

    def _import(self, archive: Path) -> None:
        # Through stdin: the archive may lie where the node's mounts do not show it.
        with archive.open("rb") as content:
            command = self._ctr("images", "import", "-")
            ended = subprocess.run(command, stdin=content, capture_output=True, check=False)
        if ended.returncode:
            raise ClusterError(f"containerd refused {archive}: {ended.stderr.decode(errors='replace').strip()}")

    def _images(self) -> dict[str, str]:
        """Return what the node has: every name, and every id in place of a name, with what it leads to."""
        listed = subprocess.run(self._ctr("images", "list"), capture_output=True, text=True, check=False)
        if listed.returncode:
            raise ClusterError(f"containerd does not list its images: {listed.stderr.strip()}")
        rows = [line.split() for line in listed.stdout.splitlines()[1:]]
        return {row[0]: row[2] for row in rows}


def _has(present: dict[str, str], image: archives.Image) -> bool:
    """Tell whether the node has an image under all its names: the id is listed beside them and leads to the same."""
    return image.id in present and all(present.get(name) == present[image.id] for name in image.names)


def _node_is_ready(api: Api) -> bool:
    node = api.get(f"/api/v1/nodes/{NODE}") or {}
    conditions = node.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _dns_is_ready(ours: Network) -> bool:
    """Tell whether CoreDNS knows the cluster, and whether kube-proxy leads its service address there."""
    connection = http.client.HTTPConnection(ours.node, node_config.DNS_READY_PORT, timeout=2)
    try:
        socket.create_connection((ours.dns_service, 53), timeout=2).close()
        connection.request("GET", "/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
