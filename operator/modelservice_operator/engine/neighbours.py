"""Whether other installations of the operator live: what one keeps is left alone while somebody holds its Lease.

A Lease is over when it has not changed for as long as it is good for, measured on the clock of whoever looks, as in
the election. So a dead installation is waited for that long, and one that was taken down in good order is not. What may
not be read, as an operator of some namespaces may not read the Leases in others, counts as held until somebody lets it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from modelservice_operator.kube.errors import NotFound, TerminalError
from modelservice_operator.kube.resources import LEASES

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelservice_operator.kube.resources import Body, Resource

_LOOK_SECONDS: Final = 2.0
_USUAL_LEASE_SECONDS: Final = 15.0


class LeaseReader(Protocol):
    """What is needed of the API server."""

    async def get(self, resource: Resource, namespace: str, name: str) -> Body:
        """Read one object."""


@dataclass(frozen=True, slots=True)
class _Seen:
    spec: Body
    since: float  # when it was first seen so
    looked: float
    words: str = ""  # why it could not be read


class Neighbours:
    """The other installations of this cluster, as far as anything is marked with their Leases."""

    def __init__(self, reader: LeaseReader, own: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`own` names our own Lease (`namespace/name`); empty: we have none."""
        self._reader = reader
        self._own = own
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    async def keeper(self, lease: str) -> str:
        """Say who keeps what is marked with this Lease; say nothing if it is ours, or nobody's any more."""
        if lease in {"", self._own}:
            return ""
        seen = self._seen.get(lease)
        if seen is None or self._clock() - seen.looked >= _LOOK_SECONDS:
            seen = self._seen[lease] = await self._look(lease, seen)
        if seen.words:
            return f"whose lease {lease} counts as held, as it cannot be read ({seen.words})"
        holder = seen.spec.get("holderIdentity")
        is_over = self._clock() - seen.since >= float(seen.spec.get("leaseDurationSeconds") or _USUAL_LEASE_SECONDS)
        return f"whose lease {lease} is held by {holder}" if holder and not is_over else ""

    async def _look(self, lease: str, before: _Seen | None) -> _Seen:
        namespace, _, name = lease.partition("/")
        now = self._clock()
        try:
            spec = (await self._reader.get(LEASES, namespace, name)).get("spec") or {}
        except NotFound:
            return _Seen({}, now, now)
        except TerminalError as error:  # who may not know, leaves alone
            return _Seen({}, now, now, error.message)
        is_same = before is not None and before.spec == spec
        return _Seen(spec, before.since if before is not None and is_same else now, now)
