"""bfloat16 is taken where it was shown to be right and faster, and every other case says why not."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from model_server import precision
from model_server.artefact.card import Trust
from model_server.errors import ModelError
from model_server.model import load
from model_server.precision import Precision, choose, has_bfloat16, largest_error
from unit.model_server.program.exported import directory as program_directory
from unit.model_server.program.exported import perceptron

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from model_server.protocol.datatypes import Arrays

ROWS = (np.ones((8, 2), np.float32),)
GOLDEN = (np.full((8, 1), 10, np.float32),)


def gives(value: float, seconds: float = 0.0) -> Callable[[Arrays], Arrays]:
    def forward(inputs: Arrays) -> Arrays:
        time.sleep(seconds)
        return (np.full((len(inputs[0]), 1), value, np.float32),)

    return forward


@pytest.fixture(autouse=True)
def processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "processor_has_bfloat16", lambda: True)


SLOW, FAST = gives(10, 0.004), gives(10.1)
TEN = SLOW(ROWS)


def test_auto_takes_what_is_faster_and_near_enough() -> None:
    forward, choice = choose(Precision.AUTO, SLOW, lambda: FAST, ROWS, GOLDEN, answers=TEN)
    assert forward is FAST
    assert choice.precision is Precision.BFLOAT16
    assert choice.parameters() == {
        "precision": "BFloat16",
        "precision_reason": "it is faster, and gives the golden outputs",
        "golden_error": pytest.approx(0.01, rel=1e-3),
    }


def fails() -> Callable[[Arrays], Arrays]:
    message = "expected scalar type Float but found BFloat16\nlong stack"
    raise RuntimeError(message)


@pytest.mark.parametrize(
    ("candidate", "golden", "said"),
    [
        (lambda: gives(10, 0.02), GOLDEN, "bfloat16 is not faster for this model on this processor"),
        (lambda: gives(10.3), GOLDEN, "bfloat16 is off its outputs by 3.0% of the largest, and 2% are allowed"),
        (lambda: gives(float("nan")), GOLDEN, "bfloat16 is off its outputs by inf%"),
        (fails, GOLDEN, "it does not run in bfloat16 (expected scalar type Float but found BFloat16)"),
        (lambda: FAST, None, "there are no golden outputs to hold bfloat16 against"),
    ],
)
def test_auto_stays_in_fp32_and_says_why(candidate: Callable[[], Any], golden: Arrays | None, said: str) -> None:
    forward, choice = choose(Precision.AUTO, SLOW, candidate, ROWS, golden, answers=TEN)
    assert forward is SLOW
    assert choice.precision is Precision.FLOAT32
    assert said in choice.reason
    assert choice.error == (None if golden is None else 0)


def test_auto_does_not_try_where_the_processor_would_emulate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "processor_has_bfloat16", lambda: False)
    assert (
        choose(Precision.AUTO, SLOW, fails, ROWS, GOLDEN, answers=TEN)[1].reason
        == "this processor does not compute in bfloat16"
    )


def test_what_was_asked_for_is_not_measured() -> None:
    slow = gives(10, 0.02)
    assert choose(Precision.BFLOAT16, SLOW, lambda: slow, ROWS, GOLDEN, answers=TEN)[0] is slow
    assert choose(Precision.FLOAT32, SLOW, fails, ROWS, GOLDEN, answers=TEN)[0] is SLOW


def test_bfloat16_that_cannot_be_had_is_an_error_and_not_something_else() -> None:
    with pytest.raises(ModelError, match=r"spec.precision: BFloat16 cannot be had .* off its outputs by 3.0%"):
        choose(Precision.BFLOAT16, SLOW, lambda: gives(10.3), ROWS, GOLDEN, answers=TEN)


@pytest.mark.parametrize(
    ("answer", "right", "error"),
    [
        ([1.0, 99.0], [0.0, 100.0], 0.01),
        ([np.nan, 1], [np.nan, 1], 0),
        ([np.inf, 1], [1, 1], np.inf),
        ([0.0], [0.0], 0),
    ],
)
def test_an_error_is_a_share_of_the_largest_output(answer: list[float], right: list[float], error: float) -> None:
    assert largest_error((np.array(answer),), (np.array(right),)) == pytest.approx(error)


def test_integers_are_right_or_wrong() -> None:
    assert largest_error((np.array([1, 2]),), (np.array([1, 2]),)) == 0
    assert largest_error((np.array([1, 3]),), (np.array([1, 2]),)) == np.inf


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 amx_tile\n", True),
        ("flags\t\t: amx_bf16\n", True),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("flags\t\t: fpu avx512f avx512_vnni\n", False),
        ("model name\t: bf16\n", False),
        ("", False),
    ],
)
def test_the_processor_tells(cpuinfo: str, expected: bool) -> None:
    assert has_bfloat16(cpuinfo) is expected


def test_a_program_in_bfloat16_answers_in_its_declared_datatype_and_proves_itself_again(tmp_path: Path) -> None:
    program_directory(tmp_path, perceptron())
    rows = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    full = load(tmp_path, precision=Precision.FLOAT32)
    (right,) = full.forward((rows,))
    np.savez(tmp_path / "golden.npz", **{"inputs.x": rows, "outputs.y": right})
    model = load(tmp_path, precision=Precision.BFLOAT16)
    (answer,) = model.forward((rows,))
    assert answer.dtype == np.float32
    assert 0 < largest_error((answer,), (right,)) < precision.BFLOAT16_TOLERANCE
    assert model.choice.error == largest_error((answer,), (right,))
    model.prove()


def test_a_handler_computes_in_what_it_likes(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text("def load(directory):\n    return lambda x: x")
    tensor = {"datatype": "FP32", "shape": [-1, 2]}
    card = {"format": "python", "inputs": [{"name": "x", **tensor}], "outputs": [{"name": "y", **tensor}]}
    (tmp_path / "model.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="a handler computes in what it likes"):
        load(tmp_path, trust=Trust.NATIVE, precision=Precision.BFLOAT16)
