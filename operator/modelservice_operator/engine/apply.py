"""The one place that writes: applies what differs, skips what is already so, and takes nothing that is not ours."""

from __future__ import annotations

from modelservice_operator.engine.store import Store
from modelservice_operator.kube.resources import Body, Resource
from modelservice_operator.kube.session import Cluster


class NameConflict(Exception):
    """The name of a child is taken by an object that belongs to somebody else."""

    def __init__(self, resource: Resource, name: str, owner: str) -> None:
        super().__init__(f"{resource.kind} {name!r} exists and belongs to {owner}")
        self.resource = resource
        self.name = name
        self.owner = owner


class Applier:
    """Writes children and status, puts the server's answers into the store, and knows the echoes of its own writes."""

    def __init__(self, cluster: Cluster, store: Store) -> None: ...

    async def ensure(
        self, owner: Body, resource: Resource, manifest: Body, live: Body | None, *, precondition: str | None = None
    ) -> Body:
        """Make one child what the manifest says, and return the live object.

        `owner` is the ModelService as it was read, `live` the child as the store has it (None: none known).
        `precondition` is the resourceVersion of `live` that the decision was made on, for writes that must not
        happen on a newer one (the ledger, traffic): `Conflict` then means observe again.
        Raises `NameConflict` when the name is taken by an object that is not ours.
        """
        raise NotImplementedError

    async def remove(self, resource: Resource, live: Body) -> None:
        """Delete one child, exactly the one that was seen."""
        raise NotImplementedError

    async def patch_status(self, owner: Body, status: Body, *, precondition: str | None = None) -> Body:
        """Merge `status` into the ModelService's status and return the ModelService."""
        raise NotImplementedError

    async def scale(self, owner: Body, replicas: int) -> None:
        """Write `spec.replicas` of the ModelService through `/scale`, as an autoscaler does."""
        raise NotImplementedError
