"""Does a live object hold all that a manifest says? Compared by merge type, as a server-side apply would merge.

- Maps: what the manifest says must be there; more may be (defaults, other managers). Selectors and the like are one
  value, compared as a whole.
- Lists with keys (containers by name, ports by number and protocol): element by element, found by key; more may be.
- All other lists are one value. Render their elements in full, as the server stores them, defaults included.
- Quantities are equal when their amounts are: `1000m` is `1`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Path: TypeAlias = tuple[str, ...]
"""The way to a field; an element of a list with keys is named by the values of its keys."""

_WHOLE_MAPS: Final = frozenset({"selector", "podSelector", "namespaceSelector", "labelSelector", "nodeSelector"})

# The keys of each list that has some, with the default of a key that may be left out.
_LIST_KEYS: Final[Mapping[str, Mapping[str, str | None]]] = {
    "conditions": {"type": None},
    "containers": {"name": None},
    "env": {"name": None},
    "ephemeralContainers": {"name": None},
    "hostAliases": {"ip": None},
    "imagePullSecrets": {"name": None},
    "initContainers": {"name": None},
    "ownerReferences": {"uid": None},
    "resourceClaims": {"name": None},
    "topologySpreadConstraints": {"topologyKey": None, "whenUnsatisfiable": None},
    "volumeDevices": {"devicePath": None},
    "volumeMounts": {"mountPath": None},
    "volumes": {"name": None},
}
_CONTAINER_PORT_KEYS: Final[Mapping[str, str | None]] = {"containerPort": None, "protocol": "TCP"}
_SERVICE_PORT_KEYS: Final[Mapping[str, str | None]] = {"port": None, "protocol": "TCP"}

# Fields whose value is a quantity, and fields whose values are.
_QUANTITY: Final = frozenset({"averageValue", "divisor", "sizeLimit"})
_QUANTITIES: Final = frozenset({"requests", "limits", "hard", "capacity", "overhead"})
_NUMBER: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([eE][+-]?\d+|(?:[numkMGTPE]|[KMGTPE]i)?)")
_SUFFIXES: Final = {
    "": Decimal(1),
    **{suffix: Decimal(1000) ** -power for power, suffix in enumerate("mun", start=1)},
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}


def differences(wanted: dict[str, Any], live: dict[str, Any]) -> frozenset[Path]:
    """Give the fields of a manifest that a live object does not hold; none means that an apply would change nothing."""
    return frozenset(_differences(wanted, live, "", ""))


def _differences(wanted: Any, live: Any, name: str, parent: str) -> list[Path]:  # noqa: ANN401 (any JSON value)
    """Give the ways from here; `name` and `parent` are the last steps of the way to here."""
    if wanted == live:  # quick, and the case of most fields
        return []
    if isinstance(wanted, dict) and isinstance(live, dict) and name not in _WHOLE_MAPS:
        lacking = [(field,) for field, value in wanted.items() if value is not None and field not in live]
        pairs = [(field, value, live[field]) for field, value in wanted.items() if field in live]
    elif keys := _keys_of(name, wanted, live):
        found = {_identity(element, keys): element for element in live}
        named = {_identity(element, keys): element for element in wanted}
        lacking = [(identity,) for identity in named if identity not in found]
        pairs = [(identity, element, found[identity]) for identity, element in named.items() if identity in found]
    else:
        return [] if _same(wanted, live, name, parent) else [()]
    return lacking + [(step, *way) for step, ours, theirs in pairs for way in _differences(ours, theirs, step, name)]


def _same(wanted: Any, live: Any, name: str, parent: str) -> bool:  # noqa: ANN401 (any JSON value)
    """Compare two values as a whole."""
    if wanted == live:
        return True
    if isinstance(wanted, dict) and isinstance(live, dict):
        return wanted.keys() == live.keys() and all(_same(wanted[key], live[key], key, name) for key in wanted)
    if isinstance(wanted, list) and isinstance(live, list):
        return len(wanted) == len(live) and all(_same(*pair, name, parent) for pair in zip(wanted, live, strict=True))
    is_quantity = name in _QUANTITY or parent in _QUANTITIES
    return is_quantity and None is not _amount(wanted) == _amount(live)


def _keys_of(name: str, wanted: Any, live: Any) -> Mapping[str, str | None]:  # noqa: ANN401 (any JSON value)
    """Give the keys by which two lists merge; none where they are not such lists."""
    if not (isinstance(wanted, list) and isinstance(live, list)):
        return {}
    if not all(isinstance(element, dict) for element in (*wanted, *live)):
        return {}
    if name == "ports":
        in_container = any("containerPort" in element for element in wanted)
        return _CONTAINER_PORT_KEYS if in_container else _SERVICE_PORT_KEYS
    return _LIST_KEYS.get(name, {})


def _identity(element: Mapping[str, Any], keys: Mapping[str, str | None]) -> str:
    return ",".join(str(element.get(key, default)) for key, default in keys.items())


def _amount(quantity: object) -> Decimal | None:
    """Give the number that a Kubernetes quantity stands for; None for what is no quantity."""
    match = _NUMBER.fullmatch(str(quantity))
    if match is None:
        return None
    number, suffix = match.groups()
    factor = _SUFFIXES.get(suffix)
    return Decimal(number + suffix) if factor is None else Decimal(number) * factor
