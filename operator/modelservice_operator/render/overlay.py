"""Lays a user's partial pod over the rendered one, as a strategic merge patch does.

Maps merge; lists whose elements have a key merge by it; other lists replace; null removes. `$patch: delete` removes
the element that it stands in, or empties the map; `$patch: replace`, in a map or as an element of its own in a list,
puts the overlay's in place of all that was there. The keys are those of Kubernetes' own pod types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MERGE_KEYS = {
    "containers": "name",
    "env": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ports": "containerPort",
    "resourceClaims": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
_MAPS = frozenset({"limits", "requests", "resources"})  # what others of us read in containers that only the user knows
_DIRECTIVE = "$patch"


class BadOverlayError(ValueError):
    """The overlay does not fit; the message names the path inside spec.podTemplate and what to do."""


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return `base` with `overlay` laid over it; `path` names the overlay in errors."""
    directive = _directive(overlay, path)
    if directive == "delete":
        return {}
    merged = {} if directive == "replace" else dict(base)
    for field, value in overlay.items():
        if field == _DIRECTIVE:
            continue
        if field.startswith("$"):
            raise BadOverlayError(f"{path}.{field} is not supported; of the patch directives only $patch is.")
        if value is None:
            merged.pop(field, None)
        else:
            merged[field] = _value(merged.get(field), value, field, f"{path}.{field}")
    return merged


def _value(base: object, value: object, field: str, path: str) -> object:
    key = _MERGE_KEYS.get(field)
    if (key or isinstance(base, list)) and not isinstance(value, list):
        raise BadOverlayError(f"{path} must be a list.")
    if (field in _MAPS or isinstance(base, Mapping)) and not isinstance(value, Mapping):
        raise BadOverlayError(f"{path} must be a map.")
    if isinstance(value, Mapping):
        return merge(base if isinstance(base, Mapping) else {}, value, path)
    if isinstance(value, list) and key:
        return _by_key(base if isinstance(base, list) else [], value, key, path)
    return value


def _by_key(base: list[Any], overlay: list[Any], key: str, path: str) -> list[Any]:
    """Merge element by element; what is new comes after what was there, so that adding never reorders."""
    merged = {element[key]: element for element in base}
    for index, element in enumerate(overlay):
        where = f"{path}[{index}]"
        directive = _directive(element, where) if isinstance(element, Mapping) else None
        if directive == "replace":
            if len(element) > 1:
                raise BadOverlayError(
                    f"{where}: $patch: replace is about the whole list; give it an element of its own."
                )
            return _by_key([], [other for other in overlay if other is not element], key, path)
        name = element.get(key) if isinstance(element, Mapping) else None
        if not isinstance(name, int if key == "containerPort" else str):
            kind = "a number" if key == "containerPort" else "text"
            raise BadOverlayError(f"{where} needs {key} ({kind}): that is how it finds the element to change.")
        if directive == "delete":
            merged[name] = None  # its place is kept for one that may come instead
        else:
            merged[name] = merge(merged.get(name) or {}, element, f"{path}[{key}={name}]")
    return [element for element in merged.values() if element is not None]


def _directive(overlay: Mapping[str, Any], path: str) -> object:
    directive = overlay.get(_DIRECTIVE)
    if directive not in (None, "merge", "replace", "delete"):
        raise BadOverlayError(f"{path}.{_DIRECTIVE} must be merge, replace or delete.")
    return directive
