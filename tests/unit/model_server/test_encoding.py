"""Weights in fewer bytes are the same weights, as near as their numbers can come, or are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from model_server.encoding import Numbers, decoded, encoded

if TYPE_CHECKING:
    from collections.abc import Callable

    Tensors = dict[str, torch.Tensor]


def weights(*, zeros: float) -> Tensors:
    """A matrix, a kernel and a bias; a row is all zero, and this share of the rest."""
    draw = torch.Generator().manual_seed(0)
    made = {
        "a.weight": torch.randn(7, 13, generator=draw),
        "b.weight": 100 * torch.randn(5, 3, 3, 3, generator=draw),
    }
    for weight in made.values():
        weight[torch.rand(weight.shape, generator=draw) < zeros] = 0
        weight[2] = 0
    return {**made, "a.bias": torch.randn(7, generator=draw)}


def shapes(given: Tensors) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in given.items()}


@pytest.mark.parametrize("zeros", [0.0, 0.8])
@pytest.mark.parametrize(("numbers", "off"), [("FP32", 0.0), ("BF16", 1 / 256), ("INT8", 1 / 254)])
def test_what_is_encoded_comes_back(numbers: Numbers, off: float, zeros: float) -> None:
    given = weights(zeros=zeros)
    found = decoded(encoded(given, numbers), shapes(given))
    assert found.keys() == given.keys()
    torch.testing.assert_close(found["a.bias"], given["a.bias"], rtol=0, atol=0)
    for name in ("a.weight", "b.weight"):
        largest = given[name].flatten(1).abs().amax(1)
        error = (found[name] - given[name]).flatten(1).abs().amax(1)
        assert (error <= off * largest * 1.001).all()
        assert not found[name][given[name] == 0].any(), "what is left out stays out"


def size(tensors: Tensors) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())


@pytest.mark.parametrize(
    ("numbers", "zeros", "share"),
    [("FP32", 0.0, 1.0), ("BF16", 0.0, 0.52), ("INT8", 0.0, 0.35), ("FP32", 0.8, 0.37), ("INT8", 0.8, 0.25)],
)
def test_it_takes_fewer_bytes(numbers: Numbers, zeros: float, share: float) -> None:
    given = weights(zeros=zeros)
    assert size(encoded(given, numbers)) <= share * size(given)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda given: given.pop("a.weight.values"), "a.weight is encoded, but has no values"),
        (lambda given: given.update({"a.weight": torch.ones(7, 13)}), "or is there twice"),
        (lambda given: given.update({"c.values": torch.ones(1)}), "or is none of its weights"),
        (lambda given: given.update({"a.weight.values": torch.ones(3)}), "keeps another number of values"),
        (lambda given: given.update({"a.weight.kept": torch.zeros(2, dtype=torch.uint8)}), "another number of values"),
        (lambda given: given.update({"a.weight.kept": torch.zeros(12)}), "a mask that is not of bits"),
        (lambda given: given.pop("a.weight.kept"), "has values of the shape"),
        (lambda given: given.update({"a.weight.scale": torch.ones(6)}), "has a scale that does not fit"),
    ],
)
def test_what_is_encoded_wrongly_is_refused(spoil: Callable[[Tensors], object], said: str) -> None:
    plain = weights(zeros=0.8)
    given = encoded(plain, "INT8")
    spoil(given)
    with pytest.raises(ValueError, match=said):
        decoded(given, shapes(plain))
