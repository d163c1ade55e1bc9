"""Who may talk to the API server: random tokens, the server's file of them, and a kubeconfig for each."""

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Every user, and the groups that its rights come from.
CONTROLPLANE_USERS: dict[str, str] = {
    "admin": "system:masters",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
}


@dataclass(frozen=True)
class Access:
    """How to reach one API server as one user."""

    url: str
    authority: str  # the certificate, PEM
    token: str

    def write(self, path: Path) -> None:
        """Write a kubeconfig, as JSON: every reader of YAML takes it."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(self.kubeconfig(), indent=2) + "\n")

    def kubeconfig(self) -> dict[str, Any]:
        """Return the kubeconfig as data."""
        authority = base64.b64encode(self.authority.encode()).decode()
        name = "modelservice"
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": self.url, "certificate-authority-data": authority}}],
            "users": [{"name": name, "user": {"token": self.token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }

    @classmethod
    def read(cls, path: Path) -> "Access":
        """Read what `write` wrote; this is no reader for the world's kubeconfigs."""
        config = json.loads(path.read_text())
        cluster = config["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return cls(cluster["server"], authority, config["users"][0]["user"]["token"])


def create_tokens(path: Path, users: Mapping[str, str]) -> dict[str, str]:
    """Write the API server's token file and return each user's token."""
    tokens = {user: secrets.token_hex(16) for user in users}
    path.touch(mode=0o600)
    path.write_text("".join(token_line(tokens[user], user, groups) for user, groups in users.items()))
    return tokens


def token_line(token: str, user: str, groups: str) -> str:
    """Return one line of the token file: token, name, uid, groups."""
    return f'{token},{user},{user},"{groups}"\n' if groups else f"{token},{user},{user}\n"
