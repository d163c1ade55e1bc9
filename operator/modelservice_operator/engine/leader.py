"""Who works: of several operators, the one that holds a Lease. The others wait, with everything read and watched.

The rules are client-go's. Nobody compares clocks of two machines: a candidate measures, on its own clock, for how long
the record has not changed, and takes the Lease when that is longer than it is good for. The holder gives up earlier
than that when it cannot renew. A write that meets a newer version of the Lease is refused by the server, so of two that
reach for it at once, one gets it.

The loss of the Lease ends the work, not the process: an outage of the API server must not cost the caches, which would
all be read anew at the moment at which the server comes back.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from modelservice_operator.kube.errors import Conflict, KubeError, NotFound
from modelservice_operator.kube.resources import LEASES

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from modelservice_operator.kube.resources import Body, Resource

_log = logging.getLogger(__name__)


class LostLeaseError(Exception):
    """Somebody else may work now."""


class LeasePort(Protocol):
    """What the election needs of the API server."""

    async def get(self, resource: Resource, namespace: str, name: str) -> Body:
        """Read one object."""

    async def create(self, resource: Resource, body: Body) -> Body:
        """Create an object that must not exist yet."""

    async def replace(self, resource: Resource, body: Body) -> Body:
        """Replace an object that must still have the resourceVersion of `body`."""


@dataclass(frozen=True, slots=True)
class Timing:
    """After how many seconds what happens.

    From the death of a holder to the next: at most the Lease and one retry (until the last renewal is seen), 11.5
    seconds. client-go's usual 15, 10 and 2 take up to 17.
    """

    lease: float = 10.0
    """For how long a record that does not change keeps candidates away."""
    renew: float = 7.0
    """For how long the holder works on without a renewal; the rest is for writes that are still on their way."""
    retry: float = 1.5
    """How often the holder renews, and a candidate looks."""
    request: float = 2.5
    """For how long one try may take: a busy server may need that long, and a lost answer leaves time for another."""


class Election:
    """One candidate for one Lease."""

    def __init__(
        self,
        port: LeasePort,
        namespace: str,
        name: str,
        identity: str,
        *,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`identity` names this process and no other, not even the one that it replaces.

        `port` should be a session of its own, or a renewal may wait behind other requests.
        """
        self.identity: Final = identity
        self._port = port
        self._namespace, self._name = namespace, name
        self._timing = timing or Timing()
        self._clock = clock
        self._lease: Body | None = None  # as it was seen last
        self._seen_changing = clock()
        self._renewed: float | None = None  # when the last renewal that succeeded was sent; None: not the holder
        self._turn = asyncio.Lock()  # one try at a time, so that none is under way when the Lease is released
        self._released = False
        self._words = ""  # why the last try failed
        self._failing_since = clock()

    @property
    def is_leading(self) -> bool:
        """Tell whether this process may write now. It asks the clock, so it is true of a process that was frozen."""
        return self._renewed is not None and self._clock() - self._renewed < self._timing.renew

    @property
    def problem(self) -> str:
        """Say why the Lease cannot be had, where that has lasted; that another one has it is no problem."""
        lasts = self._words and self._clock() - self._failing_since >= self._timing.lease
        return f"the lease {self._namespace}/{self._name} cannot be had: {self._words}" if lasts else ""

    async def win(self) -> None:
        """Wait until the Lease is ours; for ever, once it was released."""
        _log.info("Waiting for the lease %s/%s as %s", self._namespace, self._name, self.identity)
        self._lease = None  # what was seen in an earlier life says nothing about who lives now
        while True:
            async with self._turn:
                if not self._released and await self._succeeds(self._reach()):
                    break
            # Not only now and then, but exactly when it ends.
            until_end = self._seen_changing + self._timing.lease - self._clock()
            await asyncio.sleep(min(self._timing.retry, until_end) if until_end > 0 else self._timing.retry)
        _log.info("Leading")

    async def hold(self) -> NoReturn:
        """Renew until cancelled, or until released; raise when the Lease is lost."""
        while True:
            await asyncio.sleep(self._timing.retry)
            async with self._turn:
                if not self._released:
                    await self._renew_in_time()

    async def release(self) -> None:
        """Let the next one begin at once. To be called when nothing here writes any more; nothing is won after it."""
        async with self._turn:
            self._released = True
            if not self.is_leading:
                return
            self._renewed = None
            try:
                async with asyncio.timeout(self._timing.request):
                    await self._give_back()
            except (KubeError, TimeoutError) as error:
                _log.warning("The lease was not released, so the next operator waits until it ends: %s", error)
            else:
                _log.info("Released the lease")

    async def _succeeds(self, attempt: Coroutine[object, object, bool]) -> bool:
        """Make one try to take the Lease; a failure is said once, not at each try."""
        try:
            async with asyncio.timeout(self._timing.request):
                is_ours = await attempt
        except (KubeError, TimeoutError) as error:
            words = str(error) or "no answer in time"
            if words != self._words:
                _log.warning("The lease cannot be had: %s", words)
            if not self._words:
                self._failing_since = self._clock()
            self._words = words
            return False
        self._words = ""
        return is_ours

    async def _renew_in_time(self) -> None:
        assert self._renewed is not None  # noqa: S101 - only the holder renews
        why = ""
        while (left := self._renewed + self._timing.renew - self._clock()) > 0:
            tried = self._clock()
            try:
                async with asyncio.timeout(min(left, self._timing.request)):
                    if await self._renew():
                        return
                why = f"{_holder(self._lease)!r} has it"
                break
            except (KubeError, TimeoutError) as error:
                words = str(error) or "no answer in time"
                _log.warning("The lease was not renewed: %s", words)
                why = f"it could not be renewed for {self._timing.renew:g} seconds ({words})"
            left = self._renewed + self._timing.renew - self._clock()
            await asyncio.sleep(max(min(tried + self._timing.retry - self._clock(), left), 0))
        self._renewed = None
        # No reason at all: this process was frozen.
        raise LostLeaseError(f"Lost the lease {self._namespace}/{self._name}: {why or 'there was no time to renew it'}")

    async def _give_back(self) -> None:
        for lease in (self._lease, None):  # None: the last renewal that was answered was perhaps not the last one
            found = lease or await self._port.get(LEASES, self._namespace, self._name)
            if _holder(found) != self.identity:
                return
            spec = found["spec"] | {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
            with suppress(Conflict):
                await self._port.replace(LEASES, found | {"spec": spec})
                return

    async def _renew(self) -> bool:
        """Write the time into the Lease that we hold; tell whether it is still ours."""
        try:
            if self._lease is not None:
                return await self._write(self._lease)
        except (Conflict, NotFound):
            pass  # also what we get after a renewal whose answer was lost
        try:
            self._lease = await self._port.get(LEASES, self._namespace, self._name)
        except NotFound:
            return await self._write(None)
        return _holder(self._lease) == self.identity and await self._write(self._lease)

    async def _reach(self) -> bool:
        """Look at the Lease once, and take it if it is free."""
        try:
            lease = await self._port.get(LEASES, self._namespace, self._name)
        except NotFound:
            lease = None
        if lease is not None and (self._lease is None or lease.get("spec") != self._lease.get("spec")):
            self._seen_changing = self._clock()
        self._lease = lease
        is_over = self._clock() - self._seen_changing >= self._timing.lease
        if _holder(lease) not in {"", self.identity} and not is_over:
            return False
        try:
            return await self._write(lease)
        except Conflict:
            return False  # another one was faster

    async def _write(self, lease: Body | None) -> bool:
        """Put ourselves into the Lease as it was seen, or into a new one."""
        before = (lease or {}).get("spec") or {}
        is_ours = before.get("holderIdentity") == self.identity
        sent, now = self._clock(), _now()
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": math.ceil(self._timing.lease),
            "acquireTime": before.get("acquireTime", now) if is_ours else now,
            "renewTime": now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (0 if is_ours or lease is None else 1),
        }
        if lease is None:
            metadata = {"namespace": self._namespace, "name": self._name}
            body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
            self._lease = await self._port.create(LEASES, body)
        else:
            self._lease = await self._port.replace(LEASES, lease | {"spec": spec})
        self._renewed = sent  # not when it was answered: others may have seen it since
        return True


def _holder(lease: Body | None) -> str:
    return str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")


def _now() -> str:
    """Give the time of day, for people: nobody computes with it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
