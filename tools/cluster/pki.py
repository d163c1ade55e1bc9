"""The certificates of one cluster, made by openssl: one authority, and what it vouches for."""

import ipaddress
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cluster.errors import ClusterError, MissingError

_DAYS = "3650"
_SECTIONS = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = unused
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


def openssl_config(names: Sequence[str] = ()) -> str:
    """Return openssl's configuration for a certificate that is valid for these host names and addresses."""
    return _SECTIONS + (f"subjectAltName = {alternative_names(names)}\n" if names else "")


def alternative_names(names: Sequence[str]) -> str:
    """Tell addresses from names, as a certificate must."""
    return ", ".join(f"{'IP' if _is_address(name) else 'DNS'}:{name}" for name in names)


def apiserver_names(service_address: str, *addresses: str) -> list[str]:
    """Return every name under which clients inside and outside of the cluster call the API server."""
    service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    return [*service, "localhost", "127.0.0.1", service_address, *addresses]


class Authority:
    """A certificate authority in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = folder / "ca.crt"

    @classmethod
    def create(cls, folder: Path) -> "Authority":
        """Make the authority and the keys of service account tokens."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        authority = cls(folder)
        authority._make("ca", "/CN=modelservice test cluster", "authority")
        signing, checking = str(folder / "service-accounts.key"), str(folder / "service-accounts.pub")
        _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", signing)
        _openssl("pkey", "-in", signing, "-pubout", "-out", checking)
        return authority

    def issue(self, name: str, subject: str, names: Sequence[str] = ()) -> None:
        """Make `NAME.crt` and `NAME.key` in the authority's folder."""
        self._make(name, subject, "leaf", names)

    def _make(self, name: str, subject: str, section: str, names: Sequence[str] = ()) -> None:
        config = self.folder / f"{name}.cnf"
        config.write_text(openssl_config(names))
        key, certificate = self.folder / f"{name}.key", self.folder / f"{name}.crt"
        signer = [] if section == "authority" else ["-CA", str(self.certificate), "-CAkey", str(self.folder / "ca.key")]
        _openssl(
            *("req", "-x509", "-config", str(config), "-extensions", section, "-subj", subject, "-days", _DAYS),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key)),
            *("-out", str(certificate), *signer),
        )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _openssl(*arguments: str) -> None:
    if not shutil.which("openssl"):
        raise MissingError("openssl is not on PATH; it makes the cluster's certificates: install the package openssl.")
    ended = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ClusterError(f"openssl {' '.join(arguments)} failed:\n{ended.stderr}")
