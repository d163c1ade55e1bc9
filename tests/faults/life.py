"""The life of one service, step by step: what its user does, and what the administrator does around it.

How its model changes is the business of another one: see rollouts.py.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from cluster.definitions import definition
from faults.admin import Admin, model_service, services
from faults.state import State, is_settled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

NAME = "m"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_GROUP = "monitoring.coreos.com"
_OPTIONAL = ("servicemonitors", "prometheusrules")
_OPEN = {"spec": {"service": {"type": "NodePort"}, "security": {"networkPolicy": {"enabled": False}}}}


@dataclass(frozen=True)
class Step:
    """One thing that the user does, or that happens to the whole cluster."""

    name: str
    act: Callable[[Admin, str], Awaitable[object]] | None = None
    """What is done to each service."""
    happen: Callable[[Admin], Awaitable[object]] | None = None
    """What is done once."""
    ends: Callable[[State], bool] = is_settled
    """Whether a namespace has come to where the step ends."""
    leaves_nothing: bool = False
    """Whether nothing is to be left of the service."""

    async def take(self, admin: Admin, namespaces: Iterable[str]) -> None:
        """Do it."""
        if self.happen is not None:
            await self.happen(admin)
        if self.act is not None:
            await asyncio.gather(*(self.act(admin, namespace) for namespace in namespaces))


async def _create(admin: Admin, namespace: str) -> None:
    slo = {"objectives": [{"name": "availability", "target": "99.9%"}]}
    spec = {"model": {"uri": "file:///models/one"}, "replicas": 2, "slo": slo}
    await admin.create(services(namespace), model_service(NAME, spec))


async def _change(admin: Admin, namespace: str) -> None:
    await admin.merge(services(namespace, NAME), {"spec": {"model": {"uri": "file:///models/two"}}})


async def _scale(admin: Admin, namespace: str) -> None:
    await admin.merge(services(namespace, NAME, "scale"), {"spec": {"replicas": 3}})


async def _open(admin: Admin, namespace: str) -> None:
    await admin.merge(services(namespace, NAME), _OPEN)


async def _return(admin: Admin, namespace: str) -> None:
    back = {"model": {"uri": "file:///models/one"}, "security": None}
    await admin.merge(services(namespace, NAME), {"spec": back})


async def _appear(admin: Admin) -> None:
    for plural in _OPTIONAL:
        manifest = await asyncio.to_thread(definition(plural, _GROUP).read_text)
        await admin.apply(f"{_DEFINITIONS}/{plural}.{_GROUP}", yaml.safe_load(manifest))


async def _vanish(admin: Admin) -> None:
    paths = [f"{_DEFINITIONS}/{plural}.{_GROUP}" for plural in _OPTIONAL]
    for path in paths:
        await admin.delete(path)
    for path in paths:
        while await admin.exists(path):  # noqa: ASYNC110 (it goes when all that it defines is gone)
            await asyncio.sleep(0.1)


async def _delete(admin: Admin, namespace: str) -> None:
    await admin.delete(services(namespace, NAME))


LIFE = (
    Step("create", _create),
    Step("change", _change),
    Step("scale", _scale),
    Step("open", _open),
    Step("return", _return),
    Step("monitors appear", happen=_appear),
    Step("monitors vanish", happen=_vanish),
    Step("delete", _delete, leaves_nothing=True),
)
