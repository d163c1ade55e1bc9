"""LIST, then WATCH, of one kind, for as long as the process lives.

The informer tells its listener of whole lists and of single changes. It resumes a broken watch where it was; where the
server no longer knows that moment (410) it lists again, and since a list is told as a whole, the listener also learns
of what was deleted in the gap. A kind that is absent or forbidden is a state that may end, not a reason to give up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from modelservice_operator.kube.backoff import Backoff
from modelservice_operator.kube.errors import Forbidden, Gone, KubeError, NotFound, Unavailable
from modelservice_operator.kube.resources import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modelservice_operator.kube.resources import Body, Name, Resource
    from modelservice_operator.kube.session import Cluster

_RETRY: Final = Backoff(first_seconds=0.5, most_seconds=30)
_SHORTEST_WATCH_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who wants to know. Called on the event loop, so it must be quick."""

    def listed(self, resource: Resource, bodies: Iterable[Body]) -> None:
        """Some of all objects of the kind."""

    def replaced(self, resource: Resource, names: set[Name], resource_version: str, namespace: str | None) -> None:
        """Names of all objects of the kind (in the namespace, or in all) at the version, each of which was listed."""

    def changed(self, resource: Resource, body: Body) -> None:
        """One object was added or changed."""

    def deleted(self, resource: Resource, body: Body) -> None:
        """One object was deleted; this was its last version."""


class State(Enum):
    """What an informer is at."""

    STARTING = "has not listed yet"
    WATCHING = "watches"
    RECONNECTING = "lost the API server"
    ABSENT = "is not served"
    FORBIDDEN = "is forbidden"


class Informer:
    """Follows all objects of one kind that have a label, in one namespace or in all."""

    def __init__(
        self,
        cluster: Cluster,
        resource: Resource,
        listener: Listener,
        *,
        selector: str = "",
        namespace: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        backoff: Backoff = _RETRY,
    ) -> None:
        self.resource = resource
        self.namespace = namespace
        self.state = State.STARTING
        self.words = ""
        """What the server said last, where the state is not a good one."""
        self.listed = asyncio.Event()
        """Set once the listener has had the first whole list."""
        self.settled = asyncio.Event()
        """Set once it is known whether there will be such a list: there was one, or it is forbidden."""
        self._cluster = cluster
        self._listener = listener
        self._selector = selector
        self._clock = clock
        self._backoff = backoff
        self._heard = clock()
        self._version = ""  # where to resume; empty: list first
        self._failures = 0

    @property
    def silent_seconds(self) -> float:
        """How long the server has told us nothing; an open watch is renewed before it is silent for long."""
        return self._clock() - self._heard

    def __str__(self) -> str:
        """Name what is followed: `deployments.apps`, `pods in ml`."""
        return str(self.resource) if self.namespace is None else f"{self.resource} in {self.namespace}"

    async def run(self) -> None:
        """Follow the kind until cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except Gone as error:
                self._version = ""
                await self._wait(error)
            except KubeError as error:
                await self._wait(error)

    async def _list(self) -> None:
        names: set[Name] = set()
        version = ""
        async for page in self._cluster.pages(self.resource, namespace=self.namespace, selector=self._selector):
            self._listener.listed(self.resource, page.items)
            names.update(map(name_of, page.items))
            version = page.resource_version
        self._listener.replaced(self.resource, names, version, self.namespace)
        self._heard_from_server(version)
        self.listed.set()
        self.settled.set()

    async def _watch(self) -> None:
        started, events_seen = self._clock(), 0
        async with self._cluster.watch(
            self.resource, resource_version=self._version, namespace=self.namespace, selector=self._selector
        ) as events:
            self._heard_from_server(self._version)
            async for kind, body in events:
                if kind == "DELETED":
                    self._listener.deleted(self.resource, body)
                elif kind != "BOOKMARK":
                    self._listener.changed(self.resource, body)
                self._heard_from_server(body["metadata"]["resourceVersion"])
                events_seen += 1
        if events_seen == 0 and self._clock() - started < _SHORTEST_WATCH_SECONDS:
            raise Unavailable("The watch ended as soon as it began")

    def _heard_from_server(self, version: str) -> None:
        self._version = version
        self._heard = self._clock()
        self._failures = 0
        self.state, self.words = State.WATCHING, ""

    async def _wait(self, error: KubeError) -> None:
        self._failures += 1
        known = {NotFound: State.ABSENT, Forbidden: State.FORBIDDEN}
        state = known.get(type(error), State.RECONNECTING)
        seconds = max(self._backoff.seconds(self._failures), error.retry_after or 0.0)
        if (state, error.message) != (self.state, self.words):  # say it once, not at each try
            level = logging.INFO if state is State.ABSENT else logging.WARNING  # an API that goes alarms nobody
            _log.log(level, "%s %s: %s", self, state.value, error.message)
        self.state, self.words = state, error.message
        if state is State.FORBIDDEN:
            self.settled.set()
        await asyncio.sleep(seconds)
