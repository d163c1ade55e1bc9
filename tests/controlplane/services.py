"""ModelServices of one namespace, as their user applies them and reads them with kubectl."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    Kubectl = Callable[..., str]
    Object = dict[str, Any]


class Services:
    """ModelServices of one namespace."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self._kubectl, self.namespace = kubectl, namespace

    def apply(self, name: str = "m", **spec: object) -> Object:
        """Apply a ModelService as a user does; return what it is then."""
        body: Object = {"apiVersion": "modelservice.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": name}}
        body |= {"spec": {"model": {"uri": "file:///models/m"}} | spec}
        applied: Object = json.loads(self.kubectl("apply", "-f", "-", "-o", "json", stdin=body))
        return applied

    def kubectl(self, *arguments: str, stdin: object = None) -> str:
        return self._kubectl(f"--namespace={self.namespace}", *arguments, stdin=stdin)

    def get(self, kind: str, name: str = "m") -> Object:
        found: Object = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def all(self, kinds: str) -> list[Object]:
        found: list[Object] = json.loads(self.kubectl("get", kinds, "-o", "json"))["items"]
        return found

    def condition(self, kind: str, name: str = "m") -> Object:
        """Return the condition of the latest generation, else nothing."""
        service = self.get("modelservice", name)
        for condition in (service.get("status") or {}).get("conditions") or ():
            current = condition["observedGeneration"] == service["metadata"]["generation"]
            if condition["type"] == kind and current:
                return dict(condition)
        return {}

    def until(self, kind: str, status: str, reason: str = "", name: str = "m") -> Object:
        def holds() -> Object:
            found = self.condition(kind, name)
            assert found.get("status") == status, found
            assert not reason or found["reason"] == reason, found
            return found

        return until(holds, f"{kind} is {status} {reason}")

    def revisions(self, name: str = "m") -> list[Object]:
        """Return the revisions that the status shows, the stable one first."""
        found: list[Object] = self.get("modelservice", name)["status"]["revisions"]
        return found

    def template_versions(self) -> dict[str, int]:
        """Return the generation of each Deployment: it grows with every change of its spec."""
        return {each["metadata"]["name"]: each["metadata"]["generation"] for each in self.all("deployments")}
