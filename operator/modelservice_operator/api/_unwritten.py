"""Tells a wish from a default of a newer CRD, which the API server puts into every object that has the block.

An operator that is older than the CRD (in an upgrade, or after a rollback) must not stop for what nobody asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Step = str | int


def without_unwritten(service: Mapping[str, Any], fields: Iterable[Sequence[Step]]) -> dict[str, Any]:
    """Return `service` without those of the fields of its spec that no field manager has written."""
    managers = [entry.get("fieldsV1") or {} for entry in service["metadata"].get("managedFields") or ()]
    spec = service["spec"]
    for path in fields:
        if not any(_is_written(written, ("spec", *path)) for written in managers):
            spec = _without(spec, path)
    return {**service, "spec": spec}


def _is_written(written: Mapping[str, Any], path: Sequence[Step]) -> bool:
    """Tell whether managed fields hold a path. An element of a list may be any; a list without keys is one value."""
    if not path:
        return True
    step, *rest = path
    if isinstance(step, int):
        return not written or any(_is_written(inner, rest) for key, inner in written.items() if key.startswith("k:"))
    return f"f:{step}" in written and _is_written(written[f"f:{step}"], rest)


def _without(value: Any, path: Sequence[Step]) -> Any:  # noqa: ANN401 (any JSON value)
    step, *rest = path
    if isinstance(value, list):
        return [_without(each, rest) if number == step else each for number, each in enumerate(value)]
    if not rest:
        return {name: each for name, each in value.items() if name != step}
    return {**value, step: _without(value[step], rest)}
