"""The narrow port to the API server: a few verbs over one HTTP session, bodies as plain dicts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Self

from modelservice_operator.kube.resources import Body, Resource

FIELD_MANAGER: Final = "modelservice-operator"


class Cluster:
    """The API server, as far as the operator needs it. Raises `KubeError` and nothing else."""

    @classmethod
    async def connect(cls) -> Self:
        """Open a session with the pod's service account, or else with the current context of the kubeconfig."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close all connections."""
        raise NotImplementedError

    async def get(self, resource: Resource, namespace: str, name: str) -> Body:
        """Read one object."""
        raise NotImplementedError

    async def list(
        self, resource: Resource, *, namespace: str | None = None, selector: str = "", limit: int = 500
    ) -> tuple[list[Body], str]:
        """Read all objects, page by page, and the resource version of the moment at which they were so."""
        raise NotImplementedError

    def watch(
        self, resource: Resource, *, resource_version: str, namespace: str | None = None, selector: str = ""
    ) -> AsyncIterator[tuple[str, Body]]:
        """Yield (`ADDED` | `MODIFIED` | `DELETED` | `BOOKMARK`, object) until the server ends the stream."""
        raise NotImplementedError

    async def apply(self, resource: Resource, manifest: Body, *, force: bool, dry_run: bool = False) -> Body:
        """Apply a manifest on the server's side and return the object that results.

        A `metadata.resourceVersion` or `metadata.uid` in the manifest is a precondition: `Conflict` when it fails.
        """
        raise NotImplementedError

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        """Delete exactly the object with this UID; one that is gone already is fine."""
        raise NotImplementedError

    async def patch_status(self, resource: Resource, namespace: str, name: str, patch: Body) -> Body:
        """Merge a patch (`{"status": ...}`) into the status; a `metadata.resourceVersion` in it is a precondition."""
        raise NotImplementedError

    async def patch_scale(self, resource: Resource, namespace: str, name: str, replicas: int) -> Body:
        """Set the number of replicas through `/scale` and return the Scale object."""
        raise NotImplementedError
