"""Whether a pod of one revision finds room where a pod of another was."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from modelservice_operator.api.quantity import Quantity

Body = Mapping[str, Any]


def fits_in_place(new: Body, old: Body) -> bool:
    """Tell whether a pod of the template `new` asks for no more than one of `old`, and for the same nodes."""
    one, other = new.get("spec") or {}, old.get("spec") or {}
    if any(one.get(field) != other.get(field) for field in ("nodeSelector", "affinity")):
        return False
    try:
        wanted, freed = _requests(one), _requests(other)
    except ValueError:  # an amount of the user's own that nobody can read
        return False
    return all(amount <= freed.get(resource, Decimal(0)) for resource, amount in wanted.items())


def _requests(pod: Body) -> dict[str, Decimal]:
    """Add up what the containers ask for; a limit without a request is one."""
    found: dict[str, Decimal] = {}
    for container in pod.get("containers") or ():
        resources = container.get("resources") or {}
        for resource, amount in {**(resources.get("limits") or {}), **(resources.get("requests") or {})}.items():
            found[resource] = found.get(resource, Decimal(0)) + Quantity.parse(amount).value
    return found
