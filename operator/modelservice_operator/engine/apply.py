"""The one place that writes: applies what differs, skips what is already so, and takes nothing that is not ours.

A child is ours only if its controller owner reference carries the UID of the service.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

from modelservice_operator.engine.containment import differences
from modelservice_operator.engine.store import Key
from modelservice_operator.kube.errors import AlreadyExists, Conflict, NotFound
from modelservice_operator.kube.resources import resource_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelservice_operator.engine.containment import Path
    from modelservice_operator.engine.store import Store, Write
    from modelservice_operator.kube.resources import Body, Resource
    from modelservice_operator.kube.session import Cluster

HASH_ANNOTATION: Final = "modelservice.dev/applied-hash"
ADOPT_ANNOTATION: Final = "modelservice.dev/adopt"
_VERSION: Final = ("metadata", "resourceVersion")  # of a conditional write: what it was decided on, not what it wants
_NO_VERSION: Final = "1"  # etcd counts from there, so no object has it: whoever asks for it means "if there is none"

_log = logging.getLogger(__name__)


class NameConflictError(Exception):
    """The name of a child is taken by an object that belongs to somebody else."""

    def __init__(self, resource: Resource, name: str, owner: str, *, is_free: bool = False) -> None:
        super().__init__(f"{resource.kind} {name!r} already exists and belongs to {owner}")
        self.resource = resource
        self.name = name
        self.owner = owner
        self.is_free = is_free
        """Whether nothing controls it, so that it can be handed over."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What tells our children from those of another installation."""

    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


UNMARKED: Final = Mark()


class Applier:
    """Writes children and status, and puts the server's answers into the store, so that every read sees every write."""

    def __init__(self, cluster: Cluster, store: Store, wake: Callable[[Key], None], mark: Mark) -> None:
        """`wake` is told of a key whose object changed by more than our write while the write was on its way."""
        self._mark = mark
        self._cluster = cluster
        self._store = store
        self._wake = wake
        self._masks: dict[Key, dict[tuple[Resource, str], tuple[str | None, frozenset[Path]]]] = {}
        self._taken: dict[Key, set[tuple[Resource, str]]] = {}

    async def ensure(
        self,
        owner: Body,
        manifest: Body,
        live: Body | None,
        *,
        conditional: bool = False,
        may_take_over: bool = True,
    ) -> Body:
        """Make one child what the manifest says, and return the live object.

        `owner` is the service as it was read, `live` the child as the store has it (None: none known).
        `conditional` writes must not happen on a newer child than `live`, on which they were decided (the ledger,
        traffic). `Conflict` means observe again: so it is, too, where the store did not know of a child yet.
        An object of the name that was handed over is left as it is unless we `may_take_over`.
        Raises `NameConflictError` when the name is taken by an object that is not ours.
        """
        key, wanted = _key(owner), _completed(manifest, owner, self._mark)
        if live is None or not owns(owner, live):
            # The store knows only what carries our label, and may be behind: who holds a name is known from a look.
            is_taken = live is not None or _child(wanted) in self._taken.get(key, ())
            live = await self.look(*_ref(wanted)) if is_taken else None
            if live is None:
                return await self._create(key, wanted)
            if not owns(owner, live):
                _check_adoption(owner, live)
                if not may_take_over:
                    return live
            elif self._store.owner_key(live) == key or not _has(live, self._mark):
                self._store.upsert(resource_of(live), live)  # to be seen at the next look
                raise AlreadyExists(f"{live['kind']} {live['metadata']['name']!r} has been made meanwhile")
        elif self._holds(key, wanted, live):
            return live
        conditions = {"resourceVersion": live["metadata"]["resourceVersion"]} if conditional else {}
        # Force takes fields back from whoever changed them in our object.
        return await self._apply(key, _bound(wanted, uid=live["metadata"]["uid"], **conditions), force=True)

    async def look_again(self, owner: Body) -> Body | None:
        """Read the service itself from the API server, for decisions that must not rest on a watch that lags."""
        resource, key = resource_of(owner), _key(owner)
        try:
            fresh = await self._cluster.get(resource, *key)
        except NotFound:
            return None
        self._store.upsert(resource, fresh)
        return fresh

    async def look_again_at_children(self, owner: Body, resource: Resource) -> None:
        """Read all children of a kind from the API server into the store, for the same decisions."""
        key = _key(owner)
        for child in await self.find(resource, key.namespace, selector=self._store.selector(key)):
            self._store.upsert(resource, child)

    async def look(self, resource: Resource, namespace: str, name: str) -> Body | None:
        """Read an object that may be somebody else's, as the store knows none of those."""
        try:
            return await self._cluster.get(resource, namespace, name)
        except NotFound:
            return None

    async def find(self, resource: Resource, namespace: str, *, selector: str = "", fields: str = "") -> list[Body]:
        """Read the objects of a namespace that have some labels or fields, as the store knows only children."""
        return (await self._cluster.list(resource, namespace=namespace, selector=selector, fields=fields)).items

    async def log(self, namespace: str, pod: str, container: str, *, previous: bool) -> bytes:
        """Read the last lines that a container has written, or that it had before it was started again."""
        return await self._cluster.log(namespace, pod, container, previous=previous)

    async def remove(self, live: Body) -> None:
        """Delete one child, exactly the one that was seen. Its deletion wakes the key."""
        metadata = live["metadata"]
        await self._cluster.delete(resource_of(live), metadata["namespace"], metadata["name"], uid=metadata["uid"])

    async def patch_status(self, owner: Body, status: Body) -> Body:
        """Merge `status` into the service's status, and return the service."""
        resource, key = resource_of(owner), _key(owner)
        with self._writing(key, resource, key.name, writes_status=True) as write:
            write.answer = await self._cluster.patch_status(resource, *key, {"status": status})
        return write.answer

    async def scale(self, owner: Body, replicas: int) -> None:
        """Write `spec.replicas` of the service through `/scale`, as an autoscaler does, if nobody else did meanwhile.

        The change wakes the key.
        """
        seen = {"resourceVersion": owner["metadata"]["resourceVersion"]}
        patch = {"metadata": seen, "spec": {"replicas": replicas}}
        await self._cluster.patch_scale(resource_of(owner), *_key(owner), patch)

    def forget(self, key: Key) -> None:
        """Drop what is remembered about the children of a service that is gone."""
        self._masks.pop(key, None)
        self._taken.pop(key, None)

    def _holds(self, key: Key, wanted: Body, live: Body) -> bool:
        """Tell whether an apply would change nothing.

        The hash alone would miss what others have changed since; the comparison alone, what is no longer wanted.
        """
        if _hash_of(live) != _hash_of(wanted):
            return False
        masked_for, mask = self._masks.get(key, {}).get(_child(wanted), ("", frozenset()))
        differing = differences(wanted, live)
        return differing <= mask if masked_for == _hash_of(wanted) else not differing

    async def _create(self, key: Key, wanted: Body) -> Body:
        """Create a child. The server refuses if there is any object of the name, and leaves that as it is."""
        try:
            return await self._apply(key, _bound(wanted, resourceVersion=_NO_VERSION), force=False)
        except Conflict:
            self._taken.setdefault(key, set()).add(_child(wanted))
            raise

    async def _apply(self, key: Key, wanted: Body, *, force: bool) -> Body:
        resource, name = _child(wanted)
        with self._writing(key, resource, name) as write:
            write.answer = answer = await self._cluster.apply(resource, wanted, force=force)
        self._remember_mask(key, wanted, answer)
        return answer

    @contextmanager
    def _writing(self, key: Key, resource: Resource, name: str, *, writes_status: bool = False) -> Iterator[Write]:
        with self._store.writing(resource, key.namespace, name, writes_status=writes_status) as write:
            try:
                yield write
            finally:
                if write.something_else_happened:
                    self._wake(key)

    def _remember_mask(self, key: Key, wanted: Body, answer: Body) -> None:
        """Note the fields that the server itself (a webhook, a normalisation) stores differently from what we say."""
        mask = differences(wanted, answer) - {_VERSION}
        if mask:
            fields = ", ".join(sorted(".".join(path) for path in mask))
            _log.info("The API server stores %s %s with other values than applied: %s", *_child(wanted), fields)
            self._masks.setdefault(key, {})[_child(wanted)] = (_hash_of(wanted), mask)
        elif key in self._masks:
            self._masks[key].pop(_child(wanted), None)


def is_handed_over(owner: Body, body: Body) -> bool:
    """Tell whether whoever made an object has marked it as one for this service to take over."""
    return bool((body["metadata"].get("annotations") or {}).get(ADOPT_ANNOTATION) == owner["metadata"]["name"])


def is_free(body: Body) -> bool:
    """Tell whether nothing controls an object."""
    return _controller(body) is None


def owns(owner: Body, body: Body) -> bool:
    """Tell whether an object is a child of exactly this service."""
    controller = _controller(body)
    return controller is not None and controller["uid"] == owner["metadata"]["uid"]


def _completed(manifest: Body, owner: Body, mark: Mark) -> Body:
    """Add to a rendered manifest what every child carries: its owner, our mark, and the hash of all the rest."""
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = manifest["metadata"] | {"ownerReferences": [reference]}
    metadata["labels"] = metadata["labels"] | mark.labels
    metadata["annotations"] = (metadata.get("annotations") or {}) | mark.annotations
    text = orjson.dumps(manifest | {"metadata": metadata}, option=orjson.OPT_SORT_KEYS)
    digest = hashlib.blake2b(text, digest_size=16).hexdigest()
    annotations = metadata["annotations"] | {HASH_ANNOTATION: digest}
    return manifest | {"metadata": metadata | {"annotations": annotations}}


def _has(live: Body, mark: Mark) -> bool:
    return mark.annotations.items() <= (live["metadata"].get("annotations") or {}).items()


def _bound(body: Body, **conditions: str) -> Body:
    """Bind a write to the object that was seen, so that it cannot hit a later one of that name; or to its version."""
    return body | {"metadata": body["metadata"] | conditions}


def _check_adoption(owner: Body, live: Body) -> None:
    """Let an object of somebody else pass only if it is free and marked as handed over to this service."""
    name, metadata = owner["metadata"]["name"], live["metadata"]
    controller = _controller(live)
    if controller is not None and (controller["kind"], controller["name"]) == (owner["kind"], name):
        raise AlreadyExists(
            f"{live['kind']} {metadata['name']!r} still belongs to an earlier {owner['kind']} of the same name; "
            "waiting for the garbage collector to remove it"
        )
    if controller is not None:
        raise NameConflictError(resource_of(live), metadata["name"], f"{controller['kind']} {controller['name']!r}")
    if not is_handed_over(owner, live):
        writers = {
            entry["manager"]: None for entry in metadata.get("managedFields") or () if "subresource" not in entry
        }
        written_by = f" (it was written by {', '.join(writers)})" if writers else ""
        raise NameConflictError(resource_of(live), metadata["name"], f"no {owner['kind']}{written_by}", is_free=True)


def _controller(body: Body) -> Body | None:
    for reference in body["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return dict(reference)
    return None


def _hash_of(body: Body) -> str | None:
    return (body["metadata"].get("annotations") or {}).get(HASH_ANNOTATION)


def _child(body: Body) -> tuple[Resource, str]:
    return resource_of(body), body["metadata"]["name"]


def _ref(body: Body) -> tuple[Resource, str, str]:
    return resource_of(body), body["metadata"]["namespace"], body["metadata"]["name"]


def _key(owner: Body) -> Key:
    return Key(owner["metadata"]["namespace"], owner["metadata"]["name"])
