"""Lays a user's partial pod over the rendered one, as a strategic merge patch does.

Maps merge; lists whose elements have a key merge by it; other lists replace; null removes; `$patch: delete` removes an
element or a map, `$patch: replace` puts the overlay's in its place. The keys are those of Kubernetes' own pod types.
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
_DIRECTIVE = "$patch"


class BadOverlayError(ValueError):
    """The overlay does not fit; the message names the path inside spec.podTemplate and what to do."""


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return `base` with `overlay` laid over it; `path` names the overlay in errors."""
    match _directive(overlay, path):
        case "replace":
            return _without_directive(overlay)
        case "delete":
            return {}
    merged = dict(base)
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
    expected = list if key else type(base)
    if base is not None and isinstance(base, (dict, list)) and not isinstance(value, expected):
        raise BadOverlayError(f"{path} must be {'a list' if expected is list else 'a map'}.")
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
        if not isinstance(element, Mapping) or key not in element:
            raise BadOverlayError(f"{where} needs {key}: that is how it finds the element to change.")
        name = element[key]
        if _directive(element, where) == "delete":
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name, {}), element, f"{path}[{key}={name}]")
    return list(merged.values())


def _directive(overlay: Mapping[str, Any], path: str) -> str | None:
    directive = overlay.get(_DIRECTIVE)
    if directive not in {None, "merge", "replace", "delete"}:
        raise BadOverlayError(f"{path}.{_DIRECTIVE} must be merge, replace or delete.")
    return directive


def _without_directive(overlay: Mapping[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in overlay.items() if field != _DIRECTIVE}
