"""The spec in the one form in which equal wishes are equal: what a revision's hash is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelservice_operator.api.rules import Block


def canonical(block: Block) -> dict[str, Any]:
    """Return `block` as an object without what equals a default, and with amounts and durations in their one notation.

    A field that a later version adds is absent here until somebody sets it, so that an upgrade changes no hash.
    """
    return block.model_dump(mode="json", by_alias=True, exclude_defaults=True)
