"""What the programs of a node are told: their configuration files and command lines, as data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import components
from cluster.network import Network

NODE = "node"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
DNS_READY_PORT = 8181

# What the kubelet insists on for the whole machine, and would set. It finds these values in files of ours, which lie
# over the real ones inside the node's mount namespace; the machine keeps its own.
KUBELET_SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}

USERS: dict[str, str] = {
    "admin": "system:masters",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
    "system:kube-proxy": "",
    "system:coredns": "",
    f"system:node:{NODE}": "system:nodes",
}


@dataclass(frozen=True)
class NodeSettings:
    """Everything that the files below are made from."""

    directory: Path
    network: Network
    cgroup: str
    programs: Mapping[str, Path]  # by name: Kubernetes' and the container runtime's
    plugins: Path  # the folder of network plugins
    pause_image: str

    @property
    def etc(self) -> Path:
        """The folder of configuration files."""
        return self.directory / "etc"

    @property
    def pki(self) -> Path:
        """The folder of certificates and tokens."""
        return self.directory / "pki"

    def kubeconfig(self, user: str) -> Path:
        """Return where the kubeconfig of a component lies."""
        return self.etc / f"{user.rpartition(':')[2]}.kubeconfig"

    @property
    def control_plane(self) -> components.Settings:
        """The control plane, on the usual ports: the node has a network of its own."""
        return components.Settings(
            self.directory,
            etcd_port=2379,
            peer_port=2380,
            api_port=6443,
            bind_address="0.0.0.0",  # noqa: S104 -- of its own network namespace
            advertise_address=self.network.node,
            service_cidr=self.network.services,
            api_flags=(
                f"--kubelet-client-certificate={self.pki / 'kubelet-client.crt'}",
                f"--kubelet-client-key={self.pki / 'kubelet-client.key'}",
                f"--kubelet-certificate-authority={self.pki / 'ca.crt'}",
                "--kubelet-preferred-address-types=InternalIP",
            ),
        )


def files(settings: NodeSettings) -> dict[Path, str]:
    """Return every configuration file with its text."""
    etc = settings.etc
    return {
        etc / "containerd.toml": containerd(settings),
        etc / "cni/10-node.conflist": _json(cni(settings.network.pods)),
        etc / "kubelet.json": _json(kubelet(settings)),
        etc / "kube-proxy.json": _json(kube_proxy(settings)),
        etc / "Corefile": corefile(settings),
        etc / "resolv.conf": "",
        settings.directory / "plan.json": _json(plan(settings)),
        **{etc / "sysctl" / name.replace("/", "."): f"{value}\n" for name, value in KUBELET_SYSCTLS.items()},
    }


def containerd(settings: NodeSettings) -> str:
    """Return containerd's configuration."""
    return f"""\
version = 2
root = "{settings.directory / "containerd"}"
state = "/run/containerd"
# opt would make /opt/containerd on the machine; the others look for disks and tools that are not here.
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{settings.pause_image}"
# A machine without CAP_SYS_RESOURCE may not lower a score, and runc then dies with a message about a pipe.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
BinaryName = "{settings.programs["runc"]}"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{settings.plugins}"
conf_dir = "{settings.etc / "cni"}"
"""


def cni(pods: str) -> dict[str, Any]:
    """Return the pod network: a bridge, routed without address translation."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "isDefaultGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": pods}]]},
    }
    return {"cniVersion": "0.4.0", "name": "node", "plugins": [bridge]}


def kubelet(settings: NodeSettings) -> dict[str, Any]:
    """Return the kubelet's configuration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": settings.network.node,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(settings.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(settings.pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(settings.pki / "kubelet.key"),
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{settings.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "clusterDNS": [settings.network.dns_service],
        "clusterDomain": "cluster.local",
        "resolvConf": str(settings.etc / "resolv.conf"),
        # The machine's disk is shared with whatever else it does: the usual 10 % would evict pods for others' files.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,  # no registry could bring a removed image back
        "nodeStatusUpdateFrequency": "4s",
        # With a few pods nobody need wait for minutes: what crashes is tried again, a full volume is seen, soon.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "5s"},
        "volumeStatsAggPeriod": "5s",
        "volumePluginDir": str(settings.directory / "volume-plugins"),
    }


def kube_proxy(settings: NodeSettings) -> dict[str, Any]:
    """Return kube-proxy's configuration."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(settings.kubeconfig("system:kube-proxy"))},
        "mode": "nftables",
        "nftables": {"minSyncPeriod": "100ms"},
        "clusterCIDR": settings.network.pods,
        # Zeros leave the machine's connection tracking as it is.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def corefile(settings: NodeSettings) -> str:
    """Return CoreDNS's configuration: names of the cluster, and a quick no for all others."""
    network = settings.network
    return f"""\
cluster.local in-addr.arpa {{
    bind {network.node}
    errors
    ready {network.node}:{DNS_READY_PORT}
    loadbalance
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {settings.kubeconfig("system:coredns")}
    }}
}}
. {{
    bind {network.node}
    errors
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def dns_objects(network: Network) -> dict[str, dict[str, Any]]:
    """Return the objects that make CoreDNS, a process beside the kubelet, the cluster's DNS; by the path to post to."""
    name = {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}}
    ports = [("dns", "UDP"), ("dns-tcp", "TCP")]
    rules = [
        {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    role = {"name": "system:coredns"}
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    return {
        f"{rbac}/clusterroles": {"metadata": role, "rules": rules},
        f"{rbac}/clusterrolebindings": {
            "metadata": role,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", **role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", **role}],
        },
        "/api/v1/namespaces/kube-system/services": {
            "metadata": name,
            "spec": {
                "clusterIP": network.dns_service,
                "ports": [{"name": port, "port": 53, "protocol": protocol} for port, protocol in ports],
            },
        },
        "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices": {
            "metadata": {**name, "labels": {**name["labels"], "kubernetes.io/service-name": "kube-dns"}},  # type: ignore[dict-item]
            "addressType": "IPv4",
            "endpoints": [{"addresses": [network.node], "conditions": {"ready": True}}],
            "ports": [{"name": port, "port": 53, "protocol": protocol} for port, protocol in ports],
        },
    }


def plan(settings: NodeSettings) -> dict[str, Any]:
    """Return what the node's first process does: see `supervisor`."""
    directory, etc = settings.directory, settings.etc
    return {
        "slot": settings.network.slot,
        "ctr": str(settings.programs["ctr"]),
        # Folders that programs insist on, put in front of the machine's own; all else there stays visible.
        "folders": {
            "/var/lib": {"kubelet": str(directory / "kubelet"), "cni": str(directory / "cni")},
            "/var/log": {"pods": str(directory / "log/pods"), "containers": str(directory / "log/containers")},
        },
        "shadows": {f"/proc/sys/{name}": str(etc / "sysctl" / name.replace("/", ".")) for name in KUBELET_SYSCTLS},
        "sysctls": {"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1"},
        "processes": processes(settings),
    }


def processes(settings: NodeSettings) -> dict[str, list[str]]:
    """Return the command line of each process of the node."""
    programs, plane = settings.programs, settings.control_plane
    manager, scheduler = settings.kubeconfig("kube-controller-manager"), settings.kubeconfig("kube-scheduler")
    return {
        "etcd": components.etcd(programs["etcd"], plane),
        "containerd": [str(programs["containerd"]), "--config", str(settings.etc / "containerd.toml")],
        "kube-apiserver": components.apiserver(programs["kube-apiserver"], plane),
        "kube-controller-manager": components.controller_manager(programs["kube-controller-manager"], plane, manager),
        "kube-scheduler": components.scheduler(programs["kube-scheduler"], scheduler),
        "kubelet": [
            str(programs["kubelet"]),
            f"--config={settings.etc / 'kubelet.json'}",
            f"--kubeconfig={settings.kubeconfig(f'system:node:{NODE}')}",
            f"--hostname-override={NODE}",
            f"--node-ip={settings.network.node}",
        ],
        "kube-proxy": [
            str(programs["kube-proxy"]),
            f"--config={settings.etc / 'kube-proxy.json'}",
            f"--hostname-override={NODE}",
        ],
        "coredns": [str(programs["coredns"]), "-conf", str(settings.etc / "Corefile")],
    }


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"
