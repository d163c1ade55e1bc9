"""Which ModelService may be meant where there is none of the name."""

from __future__ import annotations

import pytest

from modelservice_operator.plugin.words import absent

HERE = [("ml", "digits"), ("ml", "letters")]
START = "There is no ModelService digit in namespace ml."


@pytest.mark.parametrize(
    ("known", "sentence"),
    [
        (HERE, f"{START} Did you mean digits?"),
        ([*HERE, ("prod", "digit"), ("stage", "digit")], f"{START} There is one in prod and stage: give -n prod."),
        ([("ml", "a"), ("ml", "b")], f"{START} It has a, b."),
        ([("ml", each) for each in "abcdef"], f"{START} It has a, b, c, d, e and others."),
        ([], f"{START} It has none that you may list; choose another with -n, or another --context."),
    ],
)
def test_the_nearest_is_named(known: list[tuple[str, str]], sentence: str) -> None:
    assert absent("digit", "ml", has_namespace=True, known=known) == sentence


def test_a_namespace_may_be_what_is_missing() -> None:
    assert absent("digits", "mll", has_namespace=False, known=HERE).startswith("There is no namespace mll.")
