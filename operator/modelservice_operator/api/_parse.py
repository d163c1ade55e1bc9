"""Reads a ModelService from the API server's JSON, or says in sentences why not.

The CRD has refused most mistakes before; what arrives here wrong was stored under an older or a newer CRD.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from modelservice_operator.api.types import NAME, ModelServiceSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

# pydantic's error types in our words; rules bring their own.
_ADVICE = {
    "bool_type": "must be true or false",
    "enum": "must be {expected}",
    "extra_forbidden": "is no field that this version of the operator knows; remove it, or upgrade the operator",
    "greater_than_equal": "must be at least {ge}",
    "int_type": "must be a whole number",
    "less_than_equal": "must be at most {le}",
    "mapping_type": "must be an object",
    "missing": "is required",
    "model_type": "must be an object",
    "string_pattern_mismatch": "must match {pattern}",
    "string_too_long": "must have at most {max_length} characters",
    "string_type": "must be text; quote it",
    "too_long": "must have at most {max_length} entries",
    "tuple_type": "must be a list",
    "value_error": "{error}",
}


class InvalidSpec(ValueError):  # noqa: N818 - the name is the condition's reason
    """The spec cannot be acted on; each sentence names a path and what to do."""

    def __init__(self, *sentences: str, unknown: tuple[tuple[str | int, ...], ...] = ()) -> None:
        self.sentences = sentences
        self.unknown = unknown
        """The paths of fields that this version does not know, where nothing else is wrong."""
        super().__init__(". ".join(sentences))


def parse(service: Mapping[str, Any]) -> ModelServiceSpec:
    """Read the spec of `service`, a ModelService object; its model has the object's name if it has none."""
    name = service["metadata"]["name"]
    if not NAME.holds(name):
        raise InvalidSpec(f'{NAME.message} (found "{name}")')
    try:
        spec = ModelServiceSpec.model_validate(service.get("spec", {}), by_alias=True, by_name=False)
    except ValidationError as refused:
        errors = refused.errors(include_url=False)
        is_newer = all(error["type"] == "extra_forbidden" for error in errors)
        unknown = tuple(error["loc"] for error in errors) if is_newer else ()
        raise InvalidSpec(*map(_sentence, errors), unknown=unknown) from None
    if spec.model.name:
        return spec
    return spec.model_copy(update={"model": spec.model.model_copy(update={"name": name})})


def _sentence(error: ErrorDetails) -> str:
    path = "spec" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error["loc"])
    advice = _ADVICE[error["type"]].format(**error.get("ctx", {})) if error["type"] in _ADVICE else error["msg"]
    return f"{path}: {advice}{_found(error)}"


def _found(error: ErrorDetails) -> str:
    """Quote what was found, if it is short and cannot be a secret."""
    found = error["input"]
    if "env" in error["loc"] or not isinstance(found, (str, int, float)) or error["type"] == "extra_forbidden":
        return ""
    text = f'"{found}"' if isinstance(found, str) else str(found).lower()
    return f" (found {text})" if len(text) <= 120 else ""  # noqa: PLR2004 - a line
