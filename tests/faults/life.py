"""The life of one service, step by step: what its user does, and how the operator is to know that it is done.

The ServiceMonitor's coming and going belongs here, as a step before `delete`, once it is a child: install and remove its
CRD for all namespaces at the same time, and add its collection to `state.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faults.admin import Admin, model_service, services

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

NAME = "m"


@dataclass(frozen=True)
class Step:
    """One thing that the user does."""

    name: str
    act: Callable[[Admin, str], Awaitable[object]]
    leaves_nothing: bool = False
    """Whether nothing is to be left of the service."""


async def _create(admin: Admin, namespace: str) -> None:
    spec = {"model": {"uri": "file:///models/one"}, "replicas": 2}
    await admin.create(services(namespace), model_service(NAME, spec))


async def _change(admin: Admin, namespace: str) -> None:
    await admin.merge(services(namespace, NAME), {"spec": {"model": {"uri": "file:///models/two"}}})


async def _scale(admin: Admin, namespace: str) -> None:
    await admin.merge(services(namespace, NAME, "scale"), {"spec": {"replicas": 3}})


async def _open(admin: Admin, namespace: str) -> None:
    await admin.merge(services(namespace, NAME), {"spec": {"service": {"type": "NodePort"}}})


async def _return(admin: Admin, namespace: str) -> None:
    await admin.merge(services(namespace, NAME), {"spec": {"model": {"uri": "file:///models/one"}}})


async def _delete(admin: Admin, namespace: str) -> None:
    await admin.delete(services(namespace, NAME))


LIFE = (
    Step("create", _create),
    Step("change", _change),
    Step("scale", _scale),
    Step("open", _open),
    Step("return", _return),
    Step("delete", _delete, leaves_nothing=True),
)
