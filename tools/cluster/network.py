"""The node's network: one /16 of its own, one virtual cable to the host, and no way out."""

import ipaddress
import json
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from cluster.errors import ClusterError, MissingError

_SLOTS = range(97, 127)


@dataclass(frozen=True)
class Network:
    """The addresses of one cluster; all of them follow from its slot, the second number of 10.x.0.0/16."""

    slot: int

    @property
    def everything(self) -> str:
        """The range that the host routes to the node."""
        return f"10.{self.slot}.0.0/16"

    @property
    def services(self) -> str:
        """The range of cluster IPs."""
        return f"10.{self.slot}.0.0/18"

    @property
    def api_service(self) -> str:
        """The cluster IP of the API server."""
        return f"10.{self.slot}.0.1"

    @property
    def dns_service(self) -> str:
        """The cluster IP of DNS."""
        return f"10.{self.slot}.0.10"

    @property
    def pods(self) -> str:
        """The range of pod IPs."""
        return f"10.{self.slot}.64.0/24"

    @property
    def node(self) -> str:
        """The node's end of the cable."""
        return f"10.{self.slot}.255.1"

    @property
    def host(self) -> str:
        """The host's end of the cable."""
        return f"10.{self.slot}.255.254"

    @property
    def link(self) -> str:
        """The name of the host's end."""
        return f"modelsvc{self.slot}"


def choose(routes: Iterable[str]) -> Network:
    """Take the first range of which no part is routed elsewhere.

    A wider route, such as a private network's 10.0.0.0/8, is no obstacle: the narrower one wins while it is there.
    """
    taken = [ipaddress.IPv4Network(route) for route in routes if route != "default"]
    for slot in _SLOTS:
        ours = ipaddress.IPv4Network(Network(slot).everything)
        if not any(route.subnet_of(ours) for route in taken):
            return Network(slot)
    raise MissingError(f"No free network for the node: every 10.x.0.0/16 with x in {_SLOTS} is routed elsewhere.")


def routes() -> list[str]:
    """Return the destinations of the host's routes."""
    return [route["dst"] for route in json.loads(_ip("-json", "-4", "route", "show"))]


def connect(network: Network, pid: int) -> None:
    """Lay the cable from the host to the network namespace of a process, and route the cluster's range into it.

    Cable, address and route vanish together with that namespace.
    """
    _ip("link", "add", network.link, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    _ip("address", "add", f"{network.host}/24", "dev", network.link)
    _ip("link", "set", network.link, "up")
    _ip("route", "add", network.everything, "via", network.node, "dev", network.link, "onlink")


def disconnect(network: Network) -> None:
    """Take the cable away at once; the kernel alone would do it some time after the namespace is gone."""
    if shutil.which("ip"):
        subprocess.run(["ip", "link", "delete", network.link], capture_output=True, check=False)


def accept(network: Network) -> None:
    """Set up the node's end, inside its namespace."""
    _ip("link", "set", "lo", "up")
    _ip("address", "add", f"{network.node}/24", "dev", "eth0")
    _ip("link", "set", "eth0", "up")
    # Only the cluster's own range: what lies outside is unreachable at once instead of after a timeout.
    _ip("route", "add", network.everything, "via", network.host)


def _ip(*arguments: str) -> str:
    ended = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ClusterError(f"`ip {' '.join(arguments)}` failed: {ended.stderr.strip()}")
    return ended.stdout
