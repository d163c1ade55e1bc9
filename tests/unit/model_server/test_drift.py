"""Inputs that are no longer what the model learned from show in the PSI; chance and little traffic do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from model_server.artefact.card import CardTensor, specs
from model_server.drift import (
    LEAST_VALUES,
    SAMPLE_ROWS,
    SLICE_SECONDS,
    SLICES,
    Drift,
    Sampler,
    drifts,
    psi,
    shared_tallies,
)
from model_server.errors import ModelError
from model_server.metrics import Metrics, Now, exposition
from model_server.reference import (
    MAX_FEATURES,
    REFERENCE,
    InputReference,
    read_reference,
    reference_of,
    write_reference,
)

if TYPE_CHECKING:
    from pathlib import Path

    from model_server.protocol.datatypes import Array, TensorSpec

RANDOM = np.random.default_rng(0)


def spec(*sizes: int, name: str = "x", datatype: str = "FP32") -> TensorSpec:
    (found,) = specs((CardTensor(name, datatype, (-1, *sizes)),))
    return found


def learned(*rows: Array, names: str = "x") -> tuple[InputReference, ...]:
    inputs = [spec(*each.shape[1:], name=name) for name, each in zip(names, rows, strict=True)]
    return reference_of(inputs, dict(zip(names, rows, strict=True)))


def normal(rows: int, width: int = 3, mean: float = 0.0) -> Array:
    return RANDOM.normal(mean, size=(rows, width)).astype(np.float32)


class Served:
    """Processes that are asked one after the other, a request a second."""

    def __init__(self, reference: tuple[InputReference, ...], processes: int = 1) -> None:
        self.reference, self.now = reference, 5000.0
        self.tallies = shared_tallies(processes)
        self._samplers = [Sampler(reference, tally, lambda: self.now) for tally in self.tallies]

    def asked(self, *inputs: Array) -> Served:
        for start in range(0, len(inputs[0]), SAMPLE_ROWS):
            self._samplers[start // SAMPLE_ROWS % len(self._samplers)].look(
                tuple(each[start : start + SAMPLE_ROWS] for each in inputs)
            )
            self.now += 1
        return self

    def drifts(self, *columns: tuple[str, ...]) -> list[Drift]:
        return list(drifts(self.reference, columns or ((),) * len(self.reference), self.tallies, self.now))

    @property
    def psi(self) -> float:
        (only,) = self.drifts()
        return only.psi[""]


def test_the_index_is_that_of_the_formula() -> None:
    shares = np.array([[0.1] * 10])
    counts = np.array([[0, 20, *[10] * 8, 0, 0]])
    expected = 0.1 * np.log(0.2 / 0.1) + (0.0001 - 0.1) * np.log(0.0001 / 0.1)
    assert psi(shares, counts) == pytest.approx([expected])


def test_what_is_as_it_was_has_not_moved_and_what_is_shifted_has() -> None:
    reference = learned(normal(5000))
    assert Served(reference).asked(normal(2000)).psi < 0.1
    assert 0.1 < Served(reference).asked(normal(2000, mean=0.5)).psi < 0.5
    assert Served(reference).asked(normal(2000, mean=2.0)).psi > 2


def test_an_input_has_moved_as_far_as_its_worst_feature() -> None:
    moved = normal(1000)
    moved[:, 1] += 1
    (drift,) = Served(learned(normal(5000))).asked(moved).drifts(("age", "height", "weight"))
    assert [name for name, index in drift.psi.items() if index > 0.25] == ["height"]
    (drift,) = Served(learned(normal(5000))).asked(moved).drifts()
    assert drift.psi.keys() == {""}
    assert drift.psi[""] > 0.25


def test_values_that_were_never_seen_are_counted_and_those_that_are_none_with_them() -> None:
    rows = normal(1000, width=1)
    rows[:100] = 40
    rows[100:200] = -40
    rows[200:250] = np.nan
    (drift,) = Served(learned(normal(50_000, width=1))).asked(rows).drifts()
    assert drift.outlier_ratio == pytest.approx(0.25, abs=0.005)
    (same,) = Served(learned(rows := normal(400))).asked(rows).drifts()
    assert (same.outlier_ratio, same.psi[""]) == (0.0, pytest.approx(0, abs=1e-3))  # their own range holds them all


@pytest.mark.parametrize("rows", [RANDOM.integers(0, 3, (3000, 2)), RANDOM.random((3000, 2)) > 0.9, np.ones((3000, 2))])
def test_numbers_that_are_few_have_not_moved_by_being_few(rows: Array) -> None:
    reference = learned(rows[:2000])
    assert Served(reference).asked(rows[2000:]).psi < 0.05
    assert Served(reference).asked(rows[2000:] + 2).psi > 0.25


def test_little_says_nothing() -> None:
    served = Served(learned(normal(500)))
    (drift,) = served.drifts()
    assert (drift.values, drift.psi, drift.outlier_ratio) == (0, {}, None)
    assert served.asked(normal(LEAST_VALUES - SAMPLE_ROWS)).drifts()[0].psi == {}
    assert served.asked(normal(SAMPLE_ROWS)).drifts()[0].psi


def test_processes_are_one_and_the_window_slides() -> None:
    served = Served(learned(normal(5000)), processes=3).asked(normal(600))
    assert served.drifts()[0].values == 600
    served.now += SLICES * SLICE_SECONDS / 2
    served.asked(normal(600, mean=3.0))
    assert served.drifts()[0].values == 1200
    served.now += SLICES * SLICE_SECONDS / 2
    assert served.drifts()[0].values == 600  # the first have left
    served.now += SLICES * SLICE_SECONDS
    assert served.drifts()[0].values == 0
    assert served.asked(normal(600)).psi < 0.1  # what is written anew is empty first


def test_of_a_moment_one_request_is_looked_at() -> None:
    served = Served(learned(normal(500)))
    for _ in range(10):
        served.now += 0.01
        served._samplers[0].look((normal(100),))
    assert served.drifts()[0].values == SAMPLE_ROWS


def test_inputs_are_judged_apart_and_what_has_free_sizes_is_one_feature() -> None:
    pixels, tokens = RANDOM.integers(0, 256, (400, 2, 30, 40)).astype(np.uint8), RANDOM.integers(0, 9, (400, 7))
    reference = reference_of([spec(2, 30, 40, datatype="UINT8"), spec(-1, name="ids")], {"x": pixels, "ids": tokens})
    assert [len(each.edges) for each in reference] == [MAX_FEATURES // 2, 1]
    served = Served(reference).asked(pixels, tokens + 4)
    first, second = served.drifts()
    assert first.psi[""] < 0.1
    assert second.psi[""] > 0.25
    assert second.values == 400 * 7


def test_what_is_written_can_be_read_and_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    assert read_reference(tmp_path, [spec(3)]) == ()
    (made,) = learned(normal(300))
    write_reference(tmp_path, [made])
    (read,) = read_reference(tmp_path, [spec(3)])
    assert all(np.array_equal(*pair) for pair in ((made.edges, read.edges), (made.features, read.features)))
    assert read.shares == pytest.approx(made.shares, abs=1e-6)
    for wrong in (spec(2), spec(3, name="y"), spec(-1)):
        with pytest.raises(ModelError, match=r"reference\.npz"):
            read_reference(tmp_path, [wrong])
    (tmp_path / REFERENCE).write_bytes(b"PK")
    with pytest.raises(ModelError, match=r"reference\.npz cannot be read"):
        read_reference(tmp_path, [spec(3)])


def test_too_few_rows_are_no_reference() -> None:
    with pytest.raises(ModelError, match="20 rows tell too little"):
        learned(normal(20))


def test_a_scrape_tells_it() -> None:
    (drift,) = Served(learned(normal(5000))).asked(normal(400)).drifts(("a", "b", "c"))
    told = exposition(
        Metrics(8), Now(ready=True, queue_oldest_seconds=0, born=0, info={}, drifts=[drift]), "m"
    ).decode()
    assert f'model_server_input_drift_psi{{model="m",input="x",column="b"}} {round(drift.psi["b"], 6)}' in told
    assert 'model_server_input_sampled_values{model="m",input="x"} 400' in told
    assert f'model_server_input_outlier_ratio{{model="m",input="x"}} {drift.outlier_ratio}' in told
    nothing = Drift("x", 3, {}, None)
    told = exposition(
        Metrics(8), Now(ready=True, queue_oldest_seconds=0, born=0, info={}, drifts=[nothing]), "m"
    ).decode()
    assert "model_server_input_drift_psi{" not in told
    assert (
        "input_drift"
        not in exposition(Metrics(8), Now(ready=True, queue_oldest_seconds=0, born=0, info={}), "m").decode()
    )
