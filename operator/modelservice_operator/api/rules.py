"""What a schema cannot say: rules written once with their message, kept by the API server (CEL) and by the operator.

The API server checks what is written; the operator checks what it reads, because an object may have been stored under
an older CRD. Both say the same sentence, which tells the user what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError, core_schema

from modelservice_operator.api import duration
from modelservice_operator.api.duration import Duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True)
class Rule:
    """A sentence that holds for a valid value: of a block (`Block.rules`), or of a field (as `Annotated` metadata)."""

    message: str
    cel: str
    holds: Callable[[Any], bool]

    def as_validation(self) -> dict[str, str]:
        """Return the rule as the CRD carries it."""
        return {"rule": self.cel, "message": self.message}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:  # noqa: ANN401 - pydantic's signature
        """Check the annotated field."""

        def check(value: object) -> object:
            if self.holds(value):
                return value
            raise broken(self)

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Declare the rule on the annotated field."""
        return _with_rules(handler(schema), (self,))


def broken(*rules: Rule) -> PydanticCustomError:
    """Return the error of a value that does not keep `rules`."""
    return PydanticCustomError("rule", "{sentence}", {"sentence": "; ".join(rule.message for rule in rules)})


def between(least: str, most: str) -> Rule:
    """Return the rule that a duration lies between two others."""
    low, high = Duration.parse(least), Duration.parse(most)
    above = f' && duration(self) >= duration("{low}")' if low.milliseconds else ""
    return Rule(
        message=f"must be a duration from {low} to {high}",
        cel=f'self.matches("{duration.PATTERN}"){above} && duration(self) <= duration("{high}")',
        holds=lambda given: low <= given <= high,
    )


class Block(BaseModel):
    """An object of the API: immutable, camelCase outside, snake_case inside, no fields but its own."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_by_alias=True,
        validate_by_name=True,
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _keep_the_rules(self) -> Self:
        if not_kept := [rule for rule in self.rules if not rule.holds(self)]:
            raise broken(*not_kept)
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Declare the rules of the block."""
        return _with_rules(handler.resolve_ref_schema(handler(schema)), cls.rules)

    def gives(self, *fields: str) -> bool:
        """Tell whether any of `fields` was written, be it with its default: CEL's `has`."""
        return not self.model_fields_set.isdisjoint(fields)


def _with_rules(schema: JsonSchemaValue, rules: tuple[Rule, ...]) -> JsonSchemaValue:
    if rules:
        schema[VALIDATIONS] = [*schema.get(VALIDATIONS, []), *(rule.as_validation() for rule in rules)]
    return schema
