"""A field that an operator does not know is a wish if somebody has written it, else the default of a newer CRD."""

from __future__ import annotations

from typing import Any

import pytest

from modelservice_operator.api import InvalidSpec, parse, without_unwritten
from unit.operator.api.cases import spec

Fields = dict[str, Any]


def stored(written: Fields, **fields: object) -> Fields:
    """A ModelService as a server with a newer CRD returns it, and what its user wrote of the spec."""
    managers = [{"manager": "status", "subresource": "status", "fieldsV1": {"f:status": {}}}]
    managers += [{"manager": "user", "fieldsV1": {"f:spec": {"f:model": {"f:uri": {}}, **written}}}]
    return {"metadata": {"name": "digits", "managedFields": managers}, "spec": spec(**fields)}


def unknown(service: Fields) -> tuple[tuple[str | int, ...], ...]:
    with pytest.raises(InvalidSpec) as refused:
        parse(service)
    return refused.value.unknown


SERVING = {"maxBatchSize": 8, "maxPadding": 3}
ENV = [{"name": "A", "value": "1", "scope": "Pod"}]


@pytest.mark.parametrize("written", [{}, {"f:serving": {}}, {"f:serving": {".": {}, "f:maxBatchSize": {}}}])
def test_a_default_is_left_out_and_the_rest_is_kept(written: Fields) -> None:
    service = stored(written, serving=SERVING)
    known = without_unwritten(service, unknown(service))
    assert known == service | {"spec": spec(serving={"maxBatchSize": 8})}
    assert parse(known).serving.max_batch_size == 8
    assert service["spec"]["serving"] == SERVING


def test_what_somebody_has_written_stays_and_is_told() -> None:
    service = stored({"f:serving": {"f:maxPadding": {}}}, serving=SERVING)
    assert without_unwritten(service, unknown(service)) == service


def test_elements_of_lists_have_defaults_too() -> None:
    element = 'k:{"name":"A"}'
    service = stored({"f:runtime": {"f:env": {element: {"f:name": {}, "f:value": {}}}}}, runtime={"env": ENV})
    known = without_unwritten(service, unknown(service))
    assert known["spec"]["runtime"] == {"env": [{"name": "A", "value": "1"}]}
    for written in ({element: {"f:name": {}, "f:scope": {}}}, {}):  # by its key, or as a list that is one value
        service = stored({"f:runtime": {"f:env": written}}, runtime={"env": ENV})
        assert without_unwritten(service, unknown(service)) == service


def test_what_is_wrong_besides_is_told_first() -> None:
    assert unknown(stored({}, serving=SERVING, replicas=-1)) == ()
