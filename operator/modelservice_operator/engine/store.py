"""What the operator knows of the cluster: the latest ModelServices, and their children, by key."""

from __future__ import annotations

from typing import NamedTuple

from modelservice_operator.kube.resources import Body, Resource


class Key(NamedTuple):
    """Names one service."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Write the key as Kubernetes' tools do."""
        return f"{self.namespace}/{self.name}"


class Store:
    """The latest known version of each object. Every read gives a copy that the caller may change."""

    def __init__(self, services: Resource, label: str) -> None: ...

    def service(self, key: Key) -> Body | None:
        """Give the service, or None when there is none."""
        raise NotImplementedError

    def services(self) -> list[Key]:
        """Give the keys of all services."""
        raise NotImplementedError

    def children(self, key: Key, resource: Resource) -> dict[str, Body]:
        """Give all objects of a kind that carry the service's label, ours or not, by name."""
        raise NotImplementedError

    def owner_key(self, body: Body) -> Key | None:
        """Give the key of the service that an object belongs to by its label."""
        raise NotImplementedError
