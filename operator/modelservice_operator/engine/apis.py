"""Which optional APIs the cluster has now, and the informers of their kinds, which come and go with them.

A kind can be used while discovery lists it with all the verbs that we need (it lists fewer for a definition that is
being deleted), and once its objects have been listed. To know when to ask, the definitions are watched, of which only
the metadata. Who looks after some namespaces has no right to watch them, and asks now and then.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from modelservice_operator.engine.metrics import OPTIONAL_API_USABLE
from modelservice_operator.kube.backoff import Backoff
from modelservice_operator.kube.errors import KubeError
from modelservice_operator.kube.informer import Informer, State
from modelservice_operator.kube.resources import CUSTOM_RESOURCE_DEFINITIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from modelservice_operator.kube.resources import Body, Name, Resource
    from modelservice_operator.kube.session import Cluster

_NEEDED: Final = frozenset({"create", "delete", "list", "patch", "watch"})
_ASK_SECONDS: Final = 60.0
_SOON: Final = Backoff(first_seconds=0.1, most_seconds=_ASK_SECONDS)  # discovery lags behind the definitions
NOT_SERVED: Final = "the cluster does not serve it"

_log = logging.getLogger(__name__)


class OptionalApis:
    """The kinds that a cluster may lack; and the listener of the definitions that they come from."""

    def __init__(
        self,
        cluster: Cluster,
        resources: Sequence[Resource],
        *,
        informers: Callable[[Resource], Iterable[Informer]],
        forget: Callable[[Resource], object],
        changed: Callable[[], None],
        watches_definitions: bool = True,
    ) -> None:
        """`informers` makes those that follow a kind, each time that its API appears; `forget` drops what they told.

        `changed` is called when a kind can be used from now on, or no more. All are called on the event loop.
        """
        self.known = asyncio.Event()
        """Set once it is known of every kind whether it can be used."""
        self._cluster = cluster
        self._resources = {str(resource): resource for resource in resources}
        self._make_informers = informers
        self._forget = forget
        self._changed = changed
        self._watches_definitions = watches_definitions
        self._defined: dict[str, bool] = {}  # False: the definition goes or is gone
        self._followed: dict[Resource, dict[Informer, asyncio.Task[None]]] = {}
        self._told: dict[Resource, list[str]] = {}
        self._asked = asyncio.Event()

    def why_not(self, resource: Resource, namespace: str) -> str:
        """Say why no object of a kind can be made in a namespace; empty: it can."""
        if not self._defined.get(str(resource), True) or resource not in self._followed:
            return NOT_SERVED
        return _why_not(next(each for each in self._followed[resource] if each.namespace in {None, namespace}))

    def ask(self) -> None:
        """Have discovery asked at once."""
        self._asked.set()

    async def run(self) -> None:
        """Keep up with the cluster until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._watches_definitions:
                group.create_task(Informer(self._cluster, CUSTOM_RESOURCE_DEFINITIONS, self).run())
            unsettled = 0
            while True:
                self._asked.clear()
                unsettled = 0 if await self._look(group) else unsettled + 1
                spread = random.uniform(0.9, 1.1)  # noqa: S311 (no secret depends on it)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_SOON.seconds(unsettled) or _ASK_SECONDS * spread):
                        await self._asked.wait()
                        unsettled = 0

    # -- what the definitions' informer tells

    def listed(self, resource: Resource, bodies: Iterable[Body]) -> None:
        """Take some of all definitions."""
        del resource
        for body in bodies:
            self._take(body, is_there=True)

    def replaced(self, resource: Resource, names: set[Name], resource_version: str, namespace: str | None) -> None:
        """Forget the definitions that the list did not have."""
        del resource, resource_version, namespace
        self._defined = {name: is_there for name, is_there in self._defined.items() if ("", name) in names}
        self.ask()

    def changed(self, resource: Resource, body: Body) -> None:
        """Take an added or changed definition."""
        del resource
        self._take(body, is_there=True)

    def deleted(self, resource: Resource, body: Body) -> None:
        """Take a deleted definition."""
        del resource
        self._take(body, is_there=False)

    def _take(self, body: Body, *, is_there: bool) -> None:
        metadata = body["metadata"]
        if metadata["name"] in self._resources:
            self._defined[metadata["name"]] = is_there and "deletionTimestamp" not in metadata
            self.ask()

    # -- what discovery tells

    async def _look(self, group: asyncio.TaskGroup) -> bool:
        """Ask about every kind, start and stop informers; return whether all is as the definitions promise."""
        known = settled = True
        for name, resource in self._resources.items():
            try:
                served = await self._cluster.verbs(resource) >= _NEEDED
            except KubeError:  # says nothing about what is served
                known = settled = False
                continue
            defined = self._defined.get(name, served)
            if served and defined:
                self._follow(resource, group)
            else:
                self._leave(resource)
            informers = self._followed.get(resource, ())
            settled &= served == defined and not any(map(_why_not, informers))
            if any(informer.state is State.STARTING for informer in informers):
                known = False
            else:
                self._tell(resource)
        if known:
            self.known.set()
        return settled

    def _follow(self, resource: Resource, group: asyncio.TaskGroup) -> None:
        if resource not in self._followed:
            self._followed[resource] = {
                informer: group.create_task(informer.run()) for informer in self._make_informers(resource)
            }

    def _leave(self, resource: Resource) -> None:
        for task in self._followed.pop(resource, {}).values():
            task.cancel()
        self._forget(resource)

    def _tell(self, resource: Resource) -> None:
        """Tell of a kind whether it can be used, if that is new."""
        reasons = [_why_not(informer) for informer in self._followed.get(resource, ())] or [NOT_SERVED]
        if reasons == self._told.get(resource):
            return
        self._told[resource] = reasons
        OPTIONAL_API_USABLE.labels(str(resource)).set(not any(reasons))
        _log.info("%s %s", resource, "; ".join(f"cannot be used: {why}" if why else "can be used" for why in reasons))
        self._changed()


def _why_not(informer: Informer) -> str:
    """Say why the objects that an informer follows are not known; empty: they are."""
    if informer.listed.is_set() and informer.state in {State.WATCHING, State.RECONNECTING}:
        return ""
    return f"{informer} {informer.state.value}: {informer.words}".rstrip(": ")
