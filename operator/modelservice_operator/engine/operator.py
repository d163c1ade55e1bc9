"""The operator as a process: what starts after what, what ends with what.

    1. health pages; informers of the children begin to list
    2. the API server serves the services' kind; all children are listed, and what optional kinds there are
    3. the services are listed: from here on the store is complete
    4. the services' watch, and a list of the services now and then
    5. the lease is ours, where there are several operators: workers

An operator of some namespaces may lose one (it is deleted, or its Role is): that one is closed until its services and
their children can be listed again, and the others are looked after meanwhile.

Each part lives as long as the process, but for the workers, which live as long as the lease is ours. A part that ends,
ends the process with an error (and Kubernetes starts a new one, which writes nothing that is already so). A request to
stop lets the reconciles that are running end first, and then releases the lease.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, TypeAlias

from modelservice_operator.engine import log
from modelservice_operator.engine.apis import OptionalApis
from modelservice_operator.engine.apply import UNMARKED, Applier, Mark
from modelservice_operator.engine.health import Heartbeat, serving
from modelservice_operator.engine.leader import Election, LostLeaseError
from modelservice_operator.engine.metrics import LEADING, RECONCILE_ERRORS, RECONCILE_SECONDS, show_queue
from modelservice_operator.engine.queue import Priority, WorkQueue
from modelservice_operator.engine.recorder import Recorder
from modelservice_operator.engine.store import Key, Store
from modelservice_operator.engine.surroundings import Surroundings
from modelservice_operator.kube.backoff import Backoff
from modelservice_operator.kube.errors import Forbidden, KubeError, NotFound, Unauthorized, Unavailable
from modelservice_operator.kube.informer import Informer
from modelservice_operator.kube.resources import NAMESPACES, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
    from datetime import timedelta

    from modelservice_operator.kube.resources import Body, Name, Resource
    from modelservice_operator.kube.session import Cluster

    Deliver: TypeAlias = Callable[[str | None, Body], None]

_WORKERS: Final = 8  # the API server is the bottleneck: more only wait longer (measured)
_DRAIN_SECONDS: Final = 10.0
_RETRY: Final = Backoff(first_seconds=0.5, most_seconds=15)
_SERVICES_LIST_SECONDS: Final = 300.0
_CLOSED_LIST_SECONDS: Final = 30.0
_GAP_SECONDS: Final = 2.0  # one list for all the signs of one gap
_OUTAGE_SECONDS: Final = 15.0  # an outage says nothing of the service: when it ends, no service is to wait for long
_BLIND_AFTER_SECONDS: Final = 60.0
_OPTIONAL_LISTED_SECONDS: Final = 15.0  # nothing is held up for longer by a kind that is not needed
_MAKE_ANEW_SECONDS: Final = 0.2
_STALE_AFTER_SECONDS: Final = 150.0  # a watch that is silent for 90 seconds is opened anew

_log = logging.getLogger(__name__)


class DeadPartError(Exception):
    """A part of the operator that should live as long as the process has ended."""


class Watch(Protocol):
    """The services' watch: calls `deliver` with (type, object) on the event loop until cancelled.

    Types are those of Kubernetes' watches; None is an object of a first list.
    """

    async def __call__(self, deliver: Deliver, namespaces: Collection[str]) -> None:
        """Watch some namespaces, or (none given) all, until cancelled."""


class Domain(Protocol):
    """What is to be done for a service."""

    async def __call__(self, key: Key) -> timedelta | None:
        """Bring one service to its spec; return when to look again. What it raises is logged and repeated later."""

    async def run(self, wake: Callable[[Iterable[Key] | None], None]) -> None:
        """Keep up with what is not in the cluster, until cancelled; `wake` has services looked at, None means all."""

    def gauges(self) -> str:
        """Give the services' own metrics in Prometheus' text format."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """What the operator looks after."""

    services: Resource
    children: tuple[Resource, ...]
    optional: tuple[Resource, ...]
    """Children whose API may be missing, appear and vanish."""
    label: str
    """On a child: the name of its service."""
    surroundings: Mapping[Resource, Callable[[Body], Body]] = field(default_factory=dict)
    """Kinds of others that matter to services, whose API may be missing, too; and what is of interest of an object.
    Who looks after some namespaces only may not read them."""


class Operator:
    """All parts, and what they share."""

    def __init__(
        self,
        cluster: Cluster,
        kinds: Kinds,
        *,
        watch: Watch,
        domain: Callable[[Store, Applier, OptionalApis, Surroundings, Recorder], Domain],
        identity: str = "operator",
        mark: Mark = UNMARKED,
        election: Election | None = None,
        namespaces: Sequence[str] = (),
        listen: tuple[str | None, int] = (None, 8080),
    ) -> None:
        """`domain` gets what it works with; `identity` names this process; every child carries the `mark`.

        No election: this operator is the only one. No namespaces: all.
        """
        self._cluster = cluster
        self._kinds = kinds
        self._watch = watch
        self._election = election
        if election is not None:
            cluster.may_write = lambda: election.is_leading
        self._namespaces: tuple[str | None, ...] = tuple(namespaces) or (None,)
        self._listen = listen
        self._store = Store(kinds.services, kinds.label)
        self._surroundings = Surroundings({} if namespaces else kinds.surroundings, self._wake_around)
        self._apis = OptionalApis(
            cluster,
            (*kinds.optional, *self._surroundings.kinds),
            informers=self._informers_of,
            forget=self._forget,
            changed=self._wake_all,
            watches_definitions=not namespaces,
        )
        self._make_domain = domain
        self._identity, self._mark = identity, mark
        self._is_working = False
        self._begin_anew()
        self._informers = [informer for resource in kinds.children for informer in self._informers_of(resource)]
        self._heartbeat = Heartbeat()
        self._services_listed: float | None = None
        self._services_problem = "have not been listed yet"
        self._closed: dict[str | None, str] = {}  # why we may not look into these namespaces
        self._scope = asyncio.Event()
        """Other namespaces are open than those that the services' watch was begun with."""
        self._owed_since: float | None = None
        self._gap = asyncio.Event()
        """There are signs that the services' watch has missed something."""
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Ask for an orderly end."""
        self._stop.set()

    async def run(self) -> None:
        """Run until `stop` (then return) or until a part dies (then raise)."""
        async with serving(*self._listen, self._heartbeat, unready=self._unready, gauges=self._gauges):
            informers = (informer.run() for informer in self._informers)
            parts = [self._heartbeat.run(), *informers, self._apis.run(), self._work()]
            life = asyncio.create_task(_together(parts))
            stopping = asyncio.create_task(self._stop.wait())
            try:
                await asyncio.wait({life, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not life.done() and await self._drained():
                    await self._release()  # now, as other parts take seconds to end
            finally:
                for task in (life, stopping):
                    task.cancel()
                await asyncio.wait({life, stopping})
                await self._release()
            if not life.cancelled():
                life.result()

    def _begin_anew(self) -> None:
        """Remember nothing of the time when the lease was ours before: others have written since."""
        self._queue: WorkQueue[Key] = WorkQueue()
        show_queue(self._queue)
        self._recorder = Recorder(self._cluster, self._identity)
        self._applier = Applier(self._cluster, self._store, self._wake_child, self._mark)
        self._domain = self._make_domain(self._store, self._applier, self._apis, self._surroundings, self._recorder)

    def _wake_child(self, key: Key) -> None:
        self._queue.add(key, Priority.CHILD)

    async def _drained(self) -> bool:
        """Hand out no more work, and tell whether all that was under way has ended."""
        _log.info("Stopping: %s keys wait, running reconciles may end", self._queue.depth)
        self._queue.close()
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._queue.drained()
        except TimeoutError:
            _log.warning("Some reconciles did not end within %s seconds and are cut short", _DRAIN_SECONDS)
            return False
        await self._recorder.flushed()
        return True

    async def _release(self) -> None:
        LEADING.set(0)
        if self._election is not None:
            await self._election.release()

    async def _work(self) -> None:
        await self._until_served()
        for informer in self._informers:
            await (informer.listed if informer.namespace is None else informer.settled).wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(_OPTIONAL_LISTED_SECONDS):
                await self._apis.known.wait()
        await self._list_services()
        _log.info("Started: %s services", len(self._store.services()))
        await _together([self._watch_services(), self._list_services_now_and_then(), self._watchdog(), self._lead()])

    async def _lead(self) -> None:
        """Work while we hold the lease, and all the time where there is none."""
        while True:
            holds = []
            if self._election is not None:
                await self._election.win()
                holds = [self._election.hold()]
            self._is_working = True
            LEADING.set(1)
            self._wake_all()
            try:
                parts = [self._recorder.run(), self._domain.run(self._wake_some)]
                await _together([*holds, *(self._worker() for _ in range(_WORKERS)), *parts])
            except LostLeaseError as error:
                _log.warning("%s. Standing by.", error)
            finally:
                LEADING.set(0)
                self._is_working = False
            self._begin_anew()

    async def _until_served(self) -> None:
        """Wait for the CRD: a watch that is started before it is served may stay blind."""
        failures = 0
        while True:
            try:
                if await self._cluster.verbs(self._kinds.services):
                    return
                self._services_problem = "are not served: is the CRD installed?"
            except KubeError as error:
                self._services_problem = f"cannot be looked for: {error.message}"
            if failures == 0:
                _log.warning("%s %s", self._kinds.services, self._services_problem)
            failures += 1
            await asyncio.sleep(_RETRY.seconds(failures))

    # -- workers

    async def _worker(self) -> NoReturn:
        while True:
            key = await self._queue.get()
            try:
                with log.about(key):
                    await self._look_at(key)
            finally:
                self._queue.done(key)

    async def _look_at(self, key: Key) -> None:
        started = time.perf_counter()
        try:
            again = await self._domain(key)
        except KubeError as error:
            # Expected at any time, and said by the server itself: a line is enough.
            if isinstance(error, NotFound):
                self._gap.set()  # perhaps it is the service that is not there
            at_most = _OUTAGE_SECONDS if isinstance(error, Unavailable | Unauthorized) else math.inf
            seconds = self._queue.retry(key, at_least=error.retry_after or 0.0, at_most=at_most)
            RECONCILE_ERRORS.labels(type(error).__name__).inc()
            _log.warning("Looking again in %.1f s, because of %s: %s", seconds, type(error).__name__, error.message)
        except Exception as error:  # noqa: BLE001 (one service's fault must not stop the others)
            seconds = self._queue.retry(key)
            RECONCILE_ERRORS.labels(type(error).__name__).inc()
            _log.exception("Looking again in %.1f s, because of a fault of ours", seconds)
        else:
            self._queue.forget(key)
            if again is not None:
                self._queue.add_after(key, again.total_seconds())
            if self._store.service(key) is None:
                self._applier.forget(key)
        finally:
            RECONCILE_SECONDS.observe(time.perf_counter() - started)

    # -- what the informers tell of children

    def _informers_of(self, resource: Resource) -> list[Informer]:
        if resource in self._surroundings.kinds:
            return [Informer(self._cluster, resource, self._surroundings)]
        return [
            Informer(self._cluster, resource, self, selector=self._kinds.label, namespace=namespace)
            for namespace in self._namespaces
        ]

    def _forget(self, resource: Resource) -> None:
        self._store.forget(resource)
        self._surroundings.forget(resource)

    def listed(self, resource: Resource, bodies: Iterable[Body]) -> None:
        """Take a part of a list."""
        for body in bodies:
            self._wake(self._store.upsert(resource, body), Priority.RESYNC)

    def replaced(self, resource: Resource, names: set[Name], resource_version: str, namespace: str | None) -> None:
        """Take the end of a list."""
        self._wake(self._store.prune(resource, names, resource_version, namespace), Priority.RESYNC)
        if resource in self._kinds.optional:
            self._apis.ask()

    def changed(self, resource: Resource, body: Body) -> None:
        """Take an added or changed child."""
        self._wake(self._store.upsert(resource, body), Priority.CHILD)

    def deleted(self, resource: Resource, body: Body) -> None:
        """Take a deleted child."""
        keys = self._store.remove(resource, body)
        if resource not in self._kinds.optional:
            self._wake(keys, Priority.CHILD)
            return
        # Perhaps it goes with its API, which takes no new ones then: that is to be known before it is made anew.
        self._apis.ask()
        self._wake(keys, Priority.CHILD, after=_MAKE_ANEW_SECONDS)

    # -- what the watch and our own lists tell of services

    def _deliver(self, kind: str | None, body: Body) -> None:
        self._owed_since = None
        if kind is None:
            self._gap.set()  # the watch has begun anew
        take = self._store.remove if kind == "DELETED" else self._store.upsert
        self._wake(take(self._kinds.services, body), Priority.RESYNC if kind is None else Priority.USER)

    async def _list_services(self) -> None:
        """List until it works. What a list knows and the store does not, the watch owes us."""
        failures = 0
        while True:
            try:
                for namespace in self._namespaces:
                    await self._list_services_of(namespace)
            except KubeError as error:
                self._services_problem = f"cannot be listed: {error.message}"
                if failures == 0:
                    _log.warning("%s %s", self._kinds.services, self._services_problem)
                failures += 1
                await asyncio.sleep(_RETRY.seconds(failures))
            else:
                self._services_listed = time.monotonic()
                self._services_problem = ""
                return

    async def _list_services_of(self, namespace: str | None) -> None:
        informers = [each for each in self._informers if each.namespace == namespace]
        unknown = next((each for each in informers if not each.listed.is_set()), None)
        resource, version = self._kinds.services, ""
        names: set[Name] = set()
        try:
            # Page by page, so that thousands of whole services are never in memory at once.
            async for page in self._cluster.pages(resource, namespace=namespace):
                if unknown is not None:
                    self._close(namespace, f"{unknown} {unknown.state.value}: {unknown.words}")
                    return
                if self._closed.pop(namespace, None) is not None:
                    _log.info("Namespace %s can be looked after again", namespace)
                    self._scope.set()
                names.update(map(name_of, page.items))
                version = page.resource_version
                self._take_found(set().union(*(self._store.upsert(resource, body) for body in page.items)))
        except Forbidden as error:
            if namespace is None:
                raise
            self._close(namespace, error.message)
            return
        self._take_found(self._store.prune(resource, names, version, namespace))

    def _take_found(self, touched: set[Key]) -> None:
        """Have services looked at that a list tells otherwise than the store did."""
        self._wake(touched, Priority.RESYNC)
        # A deletion that only the list has seen is not owed: watches do not tell old deletions.
        if self._owed_since is None and any(self._store.service(key) for key in touched):
            self._owed_since = time.monotonic()

    def _close(self, namespace: str | None, words: str) -> None:
        """Look into a namespace no more."""
        if namespace not in self._closed:
            _log.warning("Namespace %s cannot be looked after: %s", namespace, words)
            self._scope.set()
        self._closed[namespace] = words
        self._wake(self._store.forget(self._kinds.services, namespace), Priority.RESYNC)

    async def _watch_services(self) -> None:
        """Watch what is open, anew when that changes; end only with what the watch ends with."""
        while True:
            self._scope.clear()
            watch = asyncio.create_task(self._watch_open())
            scope = asyncio.create_task(self._scope.wait())
            try:
                await asyncio.wait({watch, scope}, return_when=asyncio.FIRST_COMPLETED)
                if watch.done() and None not in self._namespaces:
                    await self._list_services()  # perhaps a namespace was closed, which ends the watch
                if not self._scope.is_set():
                    return watch.result()
            finally:
                for task in (watch, scope):
                    task.cancel()
                await asyncio.gather(watch, scope, return_exceptions=True)

    async def _watch_open(self) -> None:
        namespaces = [each for each in self._namespaces if each is not None and each not in self._closed]
        if namespaces or None in self._namespaces:
            await self._watch(self._deliver, namespaces)
        else:
            await self._scope.wait()

    async def _list_services_now_and_then(self) -> NoReturn:
        """Find deletions that happened in a gap of the watch, which tells nobody of them.

        Soon after the signs of a gap, for the children of a deleted service are made and collected over and over.
        """
        while True:
            with suppress(TimeoutError):
                seconds = _CLOSED_LIST_SECONDS if self._closed else _SERVICES_LIST_SECONDS
                async with asyncio.timeout(seconds * random.uniform(0.9, 1.1)):  # noqa: S311 (spreads the load)
                    await self._gap.wait()
                await asyncio.sleep(_GAP_SECONDS)
            self._gap.clear()
            await self._list_services()

    async def _watchdog(self) -> None:
        """End when the watch is blind: it delivers nothing, although a list has found services that it should have."""
        while self._owed_since is None or time.monotonic() - self._owed_since < _BLIND_AFTER_SECONDS:  # noqa: ASYNC110
            await asyncio.sleep(1)  # there is nothing to wait for: the event would be that nothing happens
        raise DeadPartError(
            f"The watch of {self._kinds.services} has delivered nothing for {_BLIND_AFTER_SECONDS:.0f} seconds, "
            "although a list found changes. Starting anew."
        )

    def _wake(self, keys: Iterable[Key], priority: Priority, *, after: float = 0.0) -> None:
        """Have keys looked at. Who stands by remembers none: whoever begins to work looks at every service."""
        if self._is_working:
            for key in keys:
                self._queue.add_after(key, after, priority)

    def _wake_all(self) -> None:
        self._wake(self._store.services(), Priority.RESYNC)

    def _wake_some(self, keys: Iterable[Key] | None) -> None:
        known = self._store.services()
        self._wake(known if keys is None else {*known}.intersection(keys), Priority.RESYNC)

    def _wake_around(self, resource: Resource, name: Name) -> None:
        """Have those looked at whom a change of an object of somebody else may concern."""
        is_near = (lambda key: key.namespace == name[1]) if resource == NAMESPACES else (lambda _: True)
        self._wake(filter(is_near, self._store.services()), Priority.RESYNC)

    def _gauges(self) -> str:
        return self._domain.gauges()

    def _unready(self) -> list[str]:
        """Say what is missing: something never listed, or nothing heard of it for long; of closed ones if all are."""
        closed = self._closed if len(self._closed) < len(self._namespaces) else {}
        problems = [
            f"{informer} {informer.state.value}: {informer.words}".rstrip(": ")
            for informer in self._informers
            if not informer.listed.is_set() or informer.silent_seconds > _STALE_AFTER_SECONDS
            if informer.namespace not in closed
        ]
        if self._closed and not closed:
            problems += self._closed.values()
        stale = _SERVICES_LIST_SECONDS * 1.1 + _STALE_AFTER_SECONDS
        if self._services_listed is None or time.monotonic() - self._services_listed > stale:
            problems.append(f"{self._kinds.services} {self._services_problem}")
        if self._election is not None and self._election.problem:
            problems.append(self._election.problem)
        return problems


async def _together(parts: Iterable[Coroutine[object, object, None]]) -> None:
    """Run parts that should never end; when one does, end the others and raise."""
    tasks = [asyncio.create_task(part, name=getattr(part, "__qualname__", None)) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        raise DeadPartError(f"{', '.join(task.get_name() for task in done)} ended")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
