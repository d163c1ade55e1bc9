"""ModelServices as the stories use them: applied as users do, watched through their status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waiting import until

if TYPE_CHECKING:
    from e2e.kubectl import Kubectl, Object

PATIENCE_SECONDS = 120.0  # a server starts in four seconds, or in forty where others keep the machine busy
_RESOURCES = {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}


class ModelService:
    """One of them, by name; it need not exist yet."""

    def __init__(self, kubectl: Kubectl, name: str) -> None:
        self._kubectl = kubectl
        self.name = name

    # -- what users do

    def apply(self, **spec: Any) -> None:  # noqa: ANN401 - whatever the API takes
        """Apply this spec; what is left out has its default."""
        self._kubectl.apply(
            {
                "apiVersion": "modelservice.dev/v1alpha1",
                "kind": "ModelService",
                "metadata": {"name": self.name},
                "spec": {"resources": _RESOURCES} | spec,
            }
        )

    def scale(self, replicas: int) -> None:
        """Ask for so many pods."""
        self._kubectl("scale", "modelservice", self.name, f"--replicas={replicas}")

    def delete(self) -> None:
        """Delete it, and wait for nothing."""
        self._kubectl("delete", "modelservice", self.name, "--wait=false")

    # -- what users see

    def get(self) -> Object:
        """Return it."""
        return self._kubectl.get("modelservice", self.name)

    @property
    def stable(self) -> str:
        """Name of the revision that carries the traffic."""
        revisions = self.get()["status"]["revisions"]
        return next(str(each["name"]) for each in revisions if each["role"] == "Stable")

    def condition(self, kind: str) -> Object:
        """Return a condition of the latest generation, else nothing."""
        found = self.get()
        for condition in found.get("status", {}).get("conditions", ()):
            if condition["type"] == kind and condition["observedGeneration"] == found["metadata"]["generation"]:
                return dict(condition)
        return {}

    def until(self, kind: str, status: str, reason: str = "", *, patience: float = PATIENCE_SECONDS) -> Object:
        """Wait until a condition of the latest generation is as wanted, and return it."""

        def holds() -> Object:
            found = self.condition(kind)
            assert found.get("status") == status, found
            assert not reason or found["reason"] == reason, found
            return found

        wanted = f"{kind} of {self.name} is {status} {reason}".strip()
        return until(holds, wanted, patience=patience, details=self.describe)

    def until_ready(self, replicas: int) -> None:
        """Wait until the latest spec is in force with so many ready pods and no other."""
        self.until("Ready", "True")
        until(
            lambda: self.get()["status"]["readyReplicas"] == replicas == len(self.pods()),
            f"{replicas} pods of {self.name} are ready",
            patience=PATIENCE_SECONDS,
            details=self.describe,
        )

    def pods(self) -> list[str]:
        """Return the names of its pods, without those that are on their way out."""
        found = self._kubectl.items("pods", self._selector)
        return sorted(each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"])

    def children(self, *kinds: str) -> list[Object]:
        """Return everything of these kinds that carries its label."""
        return self._kubectl.items(",".join(kinds), self._selector)

    def traces(self) -> list[str]:
        """Return whatever bears its name or label, of any kind. Events are no children: they tell what was."""
        kinds = self._kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name").split()
        everything = self._kubectl.items(",".join(kind for kind in kinds if not kind.startswith("events")))
        return [
            f"{each['kind']}/{each['metadata']['name']}"
            for each in everything
            if each["metadata"]["name"].startswith(self.name)
            or each["metadata"].get("labels", {}).get("modelservice.dev/name") == self.name
        ]

    @property
    def _selector(self) -> str:
        return f"--selector=modelservice.dev/name={self.name}"

    def describe(self) -> str:
        """Return all there is to know when it does not do what it should."""
        return self._kubectl("get", "modelservice,deployments,pods", self._selector, "--output=wide") + self._kubectl(
            "get", "modelservice", self.name, "--output=yaml"
        )
