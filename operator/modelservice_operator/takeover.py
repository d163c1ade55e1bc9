"""What served before there was a ModelService: named, and if its owner hands it over, relieved by our pods.

A Service that is handed over is left as it is until ours may take its traffic (`Applier.ensure`). A Deployment of the
same name is what most of them have their pods from; it goes when it is handed over, too, and nobody needs it any more.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from modelservice_operator import names
from modelservice_operator.api.reasons import Reason
from modelservice_operator.engine.apply import Applier, NameConflictError, is_free, is_handed_over
from modelservice_operator.engine.store import Key
from modelservice_operator.kube.resources import DEPLOYMENTS, SERVICES
from modelservice_operator.observe import Problem, Seen

if TYPE_CHECKING:
    from collections.abc import Callable

Body = dict[str, Any]

RELIEVED_AFTER = timedelta(seconds=10)


class Takeover:
    """Between two calls it keeps only what it could find out again."""

    def __init__(self, applier: Applier, clock: Callable[[], datetime]) -> None:
        self._applier = applier
        self._clock = clock
        self._relieved: set[Key] = set()  # nothing is left of what served before

    async def conflict(self, service: Body, error: NameConflictError) -> Problem:
        """Say what is in the way, and by which command its owner hands it over."""
        if not error.is_free:
            return Problem(Reason.NAME_CONFLICT, f"{error}.")
        name = service["metadata"]["name"]
        handed, also = [f"{error.resource.plural}/{error.name}"], ""
        if error.resource == SERVICES and await self._deployment(service) is not None:
            handed.append(f"{DEPLOYMENTS.plural}/{name}")
            also = f", and so does Deployment {name!r}"
        command = f"kubectl annotate {' '.join(handed)} {names.ADOPT}={name}"
        return Problem(Reason.NAME_CONFLICT, f"{error}{also}. To hand over what is there: {command}")

    async def port_name(self, seen: Seen, port: int, traffic: tuple[str, ...]) -> str:
        """Return what the Service's port is called; one that was handed over keeps the name that it has, or has not.

        With another name it would lead nowhere until every node has heard of its endpoints under that name, too.
        """
        service = seen.children.services.get(seen.name)
        if service is None and traffic:
            service = await self._applier.look(SERVICES, seen.namespace, seen.name)
        if service is None or not is_handed_over(seen.service, service):
            return names.HTTP_PORT
        known = {each["port"]: str(each.get("name", "")) for each in service["spec"].get("ports") or ()}
        return known.get(port, names.HTTP_PORT)

    async def relieve(self, seen: Seen) -> None:
        """Remove the Deployment that was handed over, once our pods have had its traffic for a while."""
        key = Key(seen.namespace, seen.name)
        if key in self._relieved or not _took_over(seen) or self.goes_on_for(seen) is not None:
            return
        found = await self._deployment(seen.service)
        if found is None:
            self._relieved.add(key)
        elif is_free(found) and is_handed_over(seen.service, found):
            await self._applier.remove(found)

    def goes_on_for(self, seen: Seen) -> timedelta | None:
        """Return how long it still runs, for those who have not heard yet of who serves now; None: no longer."""
        stable = seen.situation.stable
        if stable is None or not stable.decided_time or not _took_over(seen):
            return None
        end = datetime.fromisoformat(stable.decided_time) + RELIEVED_AFTER
        return max(end - self._clock(), timedelta(0)) or None

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a service that is gone."""
        self._relieved.discard(key)

    async def _deployment(self, service: Body) -> Body | None:
        metadata = service["metadata"]
        return await self._applier.look(DEPLOYMENTS, metadata["namespace"], metadata["name"])


def _took_over(seen: Seen) -> bool:
    """Tell whether the Service is ours, serves our pods, and was somebody else's before."""
    service = seen.children.services.get(seen.name)
    return service is not None and bool(seen.situation.traffic) and is_handed_over(seen.service, service)
