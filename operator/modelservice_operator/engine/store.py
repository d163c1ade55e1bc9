"""What the operator knows of the cluster: the latest ModelServices, and their children, by key.

Three sources feed it: watch events, whole lists, and the answers to our own writes. They arrive in any order, so one
rule decides: a newer resourceVersion wins, and a deletion counts as the version at which it happened. (The API
server's versions are comparable numbers, across the kinds of one etcd.)

Whoever feeds the store is told which keys were touched, so that it can wake them. Our own writes wake nobody: their
answers are here before their echoes, and an echo that overtakes its answer is recognised by its version.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from modelservice_operator.kube.resources import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modelservice_operator.kube.resources import Body, Name, Resource

_GRAVES_KEPT: Final = 10_000


class Key(NamedTuple):
    """Names one service."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Write the key as Kubernetes' tools do."""
        return f"{self.namespace}/{self.name}"


class _Ref(NamedTuple):
    resource: Resource
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """One object, kept as JSON: a tenth of the memory of the dict, and nobody can change it by accident."""

    version: int
    key: Key | None
    json: bytes


@dataclass(slots=True)
class Write:
    """A write on its way, and what the watches said about its object meanwhile."""

    writes_status: bool
    before: Body | None
    versions_seen: list[int] = field(default_factory=list)
    answer: Body | None = None

    @property
    def something_else_happened(self) -> bool:
        """Tell whether the object changed by more than this write, so that its key must be looked at again."""
        if self.answer is None:
            return bool(self.versions_seen)
        if self.before is not None and self._not_ours(self.answer) != self._not_ours(self.before):
            return True
        return any(version != _version(self.answer) for version in self.versions_seen)

    def _not_ours(self, body: Body) -> object:
        """Give what this write does not write."""
        if not self.writes_status:
            return body.get("status")
        metadata = body["metadata"]
        return [metadata.get(name) for name in ("uid", "generation", "labels", "annotations", "deletionTimestamp")]


class Store:
    """The latest known version of each object. Every read gives a copy that the caller may change."""

    def __init__(self, services: Resource, label: str) -> None:
        """`services` is the kind that has the keys; `label` on any other object names the service it belongs to."""
        self._services = services
        self._label = label
        self._entries: dict[_Ref, _Entry] = {}
        self._by_key: dict[Key, set[_Ref]] = {}
        self._graves: dict[_Ref, int] = {}
        self._writes: dict[_Ref, list[Write]] = {}

    # -- for those who decide

    def service(self, key: Key) -> Body | None:
        """Give the service, or None when there is none."""
        entry = self._entries.get(_Ref(self._services, *key))
        return None if entry is None else orjson.loads(entry.json)

    def services(self) -> list[Key]:
        """Give the keys of all services."""
        return [Key(ref.namespace, ref.name) for ref in self._entries if ref.resource is self._services]

    def children(self, key: Key) -> Mapping[Resource, dict[str, Body]]:
        """Give all objects that carry the service's label, ours or not, by kind (each has an entry) and by name."""
        found: defaultdict[Resource, dict[str, Body]] = defaultdict(dict)
        for ref in sorted(self._by_key.get(key, ()), key=lambda ref: ref.name):
            found[ref.resource][ref.name] = orjson.loads(self._entries[ref].json)
        return found

    def owner_key(self, body: Body) -> Key | None:
        """Give the key of the service that an object belongs to by its label."""
        metadata = body["metadata"]
        name = (metadata.get("labels") or {}).get(self._label)
        return Key(metadata["namespace"], name) if name else None

    def selector(self, key: Key) -> str:
        """Give the label selector that finds the children of a service."""
        return f"{self._label}={key.name}"

    # -- for those who hear of changes: each returns the keys to wake

    def upsert(self, resource: Resource, body: Body) -> set[Key]:
        """Take an object that was added or changed."""
        ref, version = _ref(resource, body), _version(body)
        if version <= self._newest(ref):
            return set()
        before = self._entries.get(ref)
        after = self._put(ref, version, body)
        if writes := self._writes.get(ref):
            for write in writes:
                write.versions_seen.append(version)
            return set()
        return {entry.key for entry in (before, after) if entry is not None and entry.key is not None}

    def remove(self, resource: Resource, body: Body) -> set[Key]:
        """Take the last version of an object that was deleted."""
        ref, version = _ref(resource, body), _version(body)
        before = self._entries.get(ref)
        if before is not None and version < before.version:
            return set()  # the name has been used again since
        self._bury(ref, version)
        for write in self._writes.get(ref, ()):
            write.versions_seen.append(version)
        return {before.key} if before is not None and before.key is not None else set()

    def prune(
        self, resource: Resource, names: set[Name], resource_version: str, namespace: str | None = None
    ) -> set[Key]:
        """Take the names of a whole list, whose objects were taken; what it lacks was deleted while nobody watched."""
        touched: set[Key] = set()
        version = int(resource_version)
        for ref, entry in list(self._entries.items()):
            in_scope = ref.resource == resource and namespace in (None, ref.namespace)
            if in_scope and (ref.namespace, ref.name) not in names and entry.version <= version:
                self._bury(ref, version)
                touched |= {entry.key} if entry.key is not None else set()
        return touched

    def forget(self, resource: Resource, namespace: str | None = None) -> set[Key]:
        """Drop all objects of a kind that nobody follows any more; unburied, as they may come back as they were."""
        refs = [ref for ref in self._entries if ref.resource == resource and namespace in (None, ref.namespace)]
        touched = {key for ref in refs if (key := self._entries[ref].key) is not None}
        for ref in refs:
            self._drop(ref)
        return touched

    # -- for those who write

    @contextmanager
    def writing(self, resource: Resource, namespace: str, name: str, *, writes_status: bool = False) -> Iterator[Write]:
        """Keep a write's echoes from waking anybody. Set `answer` inside; then ask `something_else_happened`."""
        ref = _Ref(resource, namespace, name)
        before = self._entries.get(ref)
        write = Write(writes_status, None if before is None else orjson.loads(before.json))
        self._writes.setdefault(ref, []).append(write)
        try:
            yield write
            if write.answer is not None and _version(write.answer) > self._newest(ref):
                self._put(ref, _version(write.answer), write.answer)
        finally:
            self._writes[ref].remove(write)
            if not self._writes[ref]:
                del self._writes[ref]

    # -- the representation

    def _newest(self, ref: _Ref) -> int:
        entry = self._entries.get(ref)
        return self._graves.get(ref, 0) if entry is None else entry.version

    def _put(self, ref: _Ref, version: int, body: Body) -> _Entry:
        self._drop(ref)
        self._graves.pop(ref, None)
        key = Key(ref.namespace, ref.name) if ref.resource == self._services else self.owner_key(body)
        metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
        # A copy, because the buffers of orjson's own answers are three times as long as what is in them (3.13).
        json = bytes(memoryview(orjson.dumps(body | {"metadata": metadata})))
        entry = self._entries[ref] = _Entry(version, key, json)
        if key is not None and ref.resource != self._services:
            self._by_key.setdefault(key, set()).add(ref)
        return entry

    def _drop(self, ref: _Ref) -> None:
        entry = self._entries.pop(ref, None)
        if entry is not None and entry.key is not None and ref in (refs := self._by_key.get(entry.key, set())):
            refs.remove(ref)
            if not refs:
                del self._by_key[entry.key]

    def _bury(self, ref: _Ref, version: int) -> None:
        """Remember a deletion for a while: an answer or a list that is older may still be on its way."""
        self._drop(ref)
        self._graves[ref] = max(version, self._graves.pop(ref, 0))
        if len(self._graves) > _GRAVES_KEPT:
            del self._graves[next(iter(self._graves))]


def _ref(resource: Resource, body: Body) -> _Ref:
    return _Ref(resource, *name_of(body))


def _version(body: Body) -> int:
    return int(body["metadata"]["resourceVersion"])
