"""The command lines of the control plane, for both profiles."""

from dataclasses import dataclass
from pathlib import Path

ISSUER = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True)
class Settings:
    """What differs between control planes."""

    directory: Path
    etcd_port: int
    peer_port: int
    api_port: int
    bind_address: str = "127.0.0.1"
    advertise_address: str = "127.0.0.1"
    service_cidr: str = "10.97.0.0/16"
    api_flags: tuple[str, ...] = ()

    @property
    def pki(self) -> Path:
        """The folder of certificates and tokens."""
        return self.directory / "pki"

    @property
    def etcd_data(self) -> Path:
        """Where etcd keeps its data."""
        return self.directory / "etcd"

    @property
    def etcd_url(self) -> str:
        """Where etcd listens."""
        return f"http://127.0.0.1:{self.etcd_port}"


def etcd(program: Path, settings: Settings) -> list[str]:
    """Return etcd's command line; the data is thrown away, so nothing waits for the disk."""
    peer = f"http://127.0.0.1:{settings.peer_port}"
    return [
        str(program),
        f"--data-dir={settings.etcd_data}",
        f"--listen-client-urls={settings.etcd_url}",
        f"--advertise-client-urls={settings.etcd_url}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def apiserver(program: Path, settings: Settings) -> list[str]:
    """Return the API server's command line: RBAC, static tokens, real service account tokens."""
    pki = settings.pki
    return [
        str(program),
        f"--etcd-servers={settings.etcd_url}",
        f"--bind-address={settings.bind_address}",
        f"--advertise-address={settings.advertise_address}",
        f"--secure-port={settings.api_port}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--token-auth-file={pki / 'tokens.csv'}",
        "--authorization-mode=Node,RBAC",
        # Some distributions switch this one on: an operator without the right to set finalizers fails there.
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={pki / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
        f"--service-cluster-ip-range={settings.service_cidr}",
        "--allow-privileged=true",
        *settings.api_flags,
    ]


def controller_manager(program: Path, settings: Settings, kubeconfig: Path) -> list[str]:
    """Return the controller manager's command line: all the usual controllers, at once."""
    return [
        str(program),
        f"--kubeconfig={kubeconfig}",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={settings.pki / 'service-accounts.key'}",
        f"--root-ca-file={settings.pki / 'ca.crt'}",
        "--leader-elect=false",
        "--secure-port=0",
        # The default of 20 requests per second makes a test of many pods wait for the controllers.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]


def scheduler(program: Path, kubeconfig: Path) -> list[str]:
    """Return the scheduler's command line."""
    return [str(program), f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0"]
