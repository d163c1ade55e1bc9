"""The life of a service whose model changes again and again: gates, steps, live requests, orders, lack of room.

Each service has a node of its own, which its namespace asks for, so that it can be full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faults.admin import Admin, model_service, services
from faults.life import NAME, Step
from faults.outcomes import BAD, BROKEN, FLAKY, GOOD, WORSE
from faults.pods import NODES, add_node, resize_node
from faults.state import says

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Act = Callable[[Admin, str], Awaitable[object]]

_REPLICAS = 2
_ROOMY = 30  # pods on a node
_HALF_WAY = [{"weight": "50%", "pause": "0s"}]
_STAYS_HALF_WAY = {"steps": [{"weight": "50%", "pause": "1h"}]}
_BLUE_GREEN = {"steps": [{"weight": "100%", "pause": "0s"}], "keepPrevious": "1h"}
_ANALYSIS = {"minRequests": 50}
_HAS_NO_ROOM = says("WaitingForCapacity", "Evaluation of revision")  # that waits for ever


def _wish(model: str, *, dataset: str = "", retry: str = "", **rollout: object) -> Act:
    """Write the whole ModelService, as one who keeps it in a file."""
    uri = model if "://" in model else f"file:///models/{model}"
    spec: dict[str, Any] = {"model": {"uri": uri}, "replicas": _REPLICAS, "startupTimeout": "1s", "rollout": rollout}
    if dataset:
        spec["evaluation"] = {"dataset": {"uri": dataset}, "metrics": [{"name": "f1", "min": "0.9"}]}
    manifest = model_service(NAME, spec)
    if retry:
        manifest["metadata"]["annotations"] = {"modelservice.dev/retry": retry}

    async def act(admin: Admin, namespace: str) -> None:
        await admin.apply(services(namespace, NAME), manifest)

    return act


def _order(what: str, role: str) -> Act:
    """Annotate the ModelService with the name of its revision that has a role."""

    async def act(admin: Admin, namespace: str) -> None:
        path = services(namespace, NAME)
        revisions = (await admin.get(path))["status"]["revisions"]
        name = next(each["name"] for each in revisions if each["role"] == role)
        await admin.merge(path, {"metadata": {"annotations": {f"modelservice.dev/{what}": name}}})

    return act


async def _create(admin: Admin, namespace: str) -> None:
    await add_node(admin, namespace, pods=_ROOMY)
    chosen = {"scheduler.alpha.kubernetes.io/node-selector": f"kubernetes.io/hostname={namespace}"}
    await admin.merge(f"/api/v1/namespaces/{namespace}", {"metadata": {"annotations": chosen}})
    await _wish("one", dataset=GOOD)(admin, namespace)


async def _fill_up(admin: Admin, namespace: str) -> None:
    await resize_node(admin, namespace, pods=_REPLICAS)
    await _wish("seven", capacity="Replace", analysis=_ANALYSIS)(admin, namespace)


async def _delete(admin: Admin, namespace: str) -> None:
    await admin.delete(services(namespace, NAME))
    await admin.delete(f"{NODES}/{namespace}")


ROLLOUTS = (
    Step("create", _create),
    Step("pass", _wish("two", dataset=GOOD, steps=_HALF_WAY)),
    Step("fail the gate", _wish("three", dataset=BAD), ends=says("GateFailed")),
    Step("retry", _wish("three", dataset=FLAKY, retry="1", **_BLUE_GREEN)),
    Step("roll back", _order("rollback", "Stable"), ends=says("RolledBack")),
    Step("answer worse", _wish(WORSE, analysis=_ANALYSIS, **_STAYS_HALF_WAY), ends=says("ErrorRate")),
    Step("never start", _wish(BROKEN), ends=says("NeverReady")),
    Step("stop half-way", _wish("four", **_STAYS_HALF_WAY), ends=says("Analysing")),
    Step("promote", _order("promote", "Candidate")),
    Step("stop again", _wish("five", **_STAYS_HALF_WAY), ends=says("Analysing")),
    Step("supersede", _wish("six", **_STAYS_HALF_WAY), ends=says("Analysing")),
    Step("revert", _wish("four")),
    Step("replace", _fill_up),
    Step("make room", _wish("eight", capacityPatience="1s")),
    Step("evaluate", _wish("nine", dataset=GOOD, capacityPatience="1s"), ends=_HAS_NO_ROOM),
    Step("delete", _delete, leaves_nothing=True),
)
