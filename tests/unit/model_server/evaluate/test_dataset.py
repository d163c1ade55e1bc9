"""A data set is read as the model takes it; what is none, or lies about itself, is refused before it costs memory."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from model_server.errors import ModelError
from model_server.evaluate.dataset import Dataset, read_dataset
from model_server.protocol.datatypes import BYTES, DATATYPES, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BYTES = 1_000_000
FEW = settings(max_examples=settings().max_examples // 4)


def spec(name: str = "x", datatype: str = "FP32", shape: tuple[int, ...] = (-1, 2)) -> TensorSpec:
    return TensorSpec(name, DATATYPES[datatype], shape)


def npz(**arrays: Any) -> io.BytesIO:  # noqa: ANN401
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    file.seek(0)
    return file


def zipped(content: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    file.seek(0)
    return file


def header(shape: object, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def read(file: io.BytesIO, *inputs: TensorSpec, max_bytes: int = MAX_BYTES) -> Dataset:
    return read_dataset(file, inputs or (spec(),), max_bytes=max_bytes)


X, Y = np.arange(6, dtype=np.float32).reshape(3, 2), np.array([0, 1, 0])


def test_the_only_input_may_be_called_x_or_by_its_name() -> None:
    for arrays in ({"x": X, "y": Y}, {"pixels": X, "y": Y}, {"x": X, "pixels": X + 1, "y": Y}):
        data = read(npz(**arrays), spec("pixels"))
        assert data.rows == 3
        assert data.inputs["pixels"].tolist() == X.tolist()
        assert data.truth is not None
        assert data.truth.tolist() == [0, 1, 0]


def test_several_inputs_have_an_array_each() -> None:
    mask = np.ones((3, 2), dtype=bool)
    data = read(npz(tokens=X.astype(int), mask=mask, y=Y), spec("tokens", "INT64"), spec("mask", "BOOL"))
    assert list(data.inputs) == ["tokens", "mask"]
    assert data.inputs["mask"].dtype == bool


def test_what_is_right_may_be_missing_where_times_alone_are_asked_for() -> None:
    assert read(npz(x=X)).truth is None


@pytest.mark.parametrize(
    ("given_dtype", "datatype"),
    [("f8", "FP32"), (">f4", "FP32"), ("i8", "FP32"), ("u1", "FP16"), ("i8", "INT32"), ("i4", "UINT8"), ("?", "INT8")],
)
def test_numbers_become_what_the_model_takes(given_dtype: str, datatype: str) -> None:
    data = read(npz(x=(X > 2).astype(given_dtype)), spec(datatype=datatype))
    assert data.inputs["x"].dtype == DATATYPES[datatype].dtype
    assert data.inputs["x"].tolist() == (X > 2).tolist()


@pytest.mark.parametrize(
    ("values", "datatype"),
    [
        ([[300, 1]], "UINT8"),
        ([[-1, 1]], "UINT64"),
        ([[1.0, 2.0]], "INT64"),
        ([[1e39, 1.0]], "FP32"),
        ([[2, 0]], "BOOL"),
        ([[np.nan, 0]], "INT64"),
    ],
)
def test_numbers_that_the_model_cannot_take_are_named(values: object, datatype: str) -> None:
    with pytest.raises(ModelError, match=r"has 'x' of .*, with values that the model's .* cannot hold"):
        read(npz(x=np.array(values)), spec(datatype=datatype))


def test_a_missing_value_stays_one_for_a_model_of_floats() -> None:
    assert np.isnan(read(npz(x=np.array([[np.nan, np.inf]]))).inputs["x"][0, 0])


def test_rows_are_flattened_or_folded_as_the_model_takes_them() -> None:
    images = np.zeros((3, 2, 2), dtype=np.float32)
    assert read(npz(x=images), spec(shape=(-1, 4))).inputs["x"].shape == (3, 4)
    assert read(npz(x=images.reshape(3, 4)), spec(shape=(-1, 1, 2, 2))).inputs["x"].shape == (3, 1, 2, 2)
    assert read(npz(x=images), spec(shape=(-1, -1, 2))).inputs["x"].shape == (3, 2, 2)


BOMB = 10**9


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: io.BytesIO(b"not a zip"), "not an npz file"),
        (lambda: io.BytesIO(npz(x=X, y=Y).getvalue()[:-30]), "not an npz file"),
        (lambda: zipped({"x.npy": b"\x93NUMPY"}), "not an npz file"),
        (lambda: zipped({"x.npy": header("(1, 2)", "'<f4'")}), "does not fit its"),
        (lambda: zipped({"x.npy": header("(10**15, 2)")}), "with a header that cannot be read"),
        (lambda: zipped({"x.npy": header("(1, 2", "'<f4'")}), "with a header that cannot be read"),
        (lambda: zipped({"x.npy": header("'''(1, 2)")}), "with a header that cannot be read"),
        (lambda: zipped({"x.npy": header("(" * 300)}), "with a header that cannot be read"),
        (lambda: zipped({"x.npy": header("-" * 5000 + "1")}), "with a header that cannot be read"),
        (lambda: zipped({"x": npz(x=X).getvalue()}), "lacks the array 'x'"),
        (lambda: zipped({"x.npy": header(f"({10**15}, 2)")}), "does not fit its"),
        (lambda: zipped({"x.npy": header("(-1, -2)") + bytes(8)}), "not an npz file"),
        (lambda: zipped({"x.npy": header("(-1, 2)") + bytes(8)}), "does not fit its"),
        (lambda: zipped({"x.npy": header("()") + bytes(4)}), "does not fit its"),
        (lambda: zipped({"x.npy": header("(1, 2)" + " " * 20_000) + bytes(8)}), "with a header that cannot be read"),
        (
            lambda: zipped({"x.npy": header("(1, 2)", "'|O'") + bytes(16)}),
            "of object; it may hold numbers and booleans",
        ),
        (lambda: zipped({"x.npy": header("(1, 2)", "[('a', '<f4')]") + bytes(8)}), "numbers and booleans only"),
        (lambda: npz(x=np.array([["a", "b"]])), "of <U1; it may hold numbers and booleans only"),
        (lambda: npz(x=X.astype(complex)), "of complex128"),
        (lambda: npz(x=X.astype("M8[s]")), "numbers and booleans only"),
        (lambda: zipped({"x.npy": bytes(MAX_BYTES + 1)}), "unpacks to 1000001 bytes, more than the 1000000"),
        (lambda: zipped({"x.npy": b""}, zipfile.ZIP_LZMA), "compressed in another way than numpy's"),
        (lambda: npz(y=Y), r"lacks the array 'x'; it needs 'x', and has \['y'\]"),
        (lambda: npz(x=X, y=Y[:2]), "has 2 rows of 'y' and 3 of 'x'; all need the same, above 0"),
        (lambda: npz(x=X[:0], y=Y[:0]), "has 0 rows of 'x'"),
        (lambda: npz(x=X, y=np.array([1, np.nan, 2])), r"has values in 'y' that are no numbers \(NaN or infinite\)"),
        (lambda: npz(x=X[:, :1], y=Y), r"has 'x' of the shape \[3, 1\]; the model's input 'x' takes \[-1, 2\]"),
        (lambda: npz(x=X.reshape(3, 2, 1, 1)[:, :, :, [0, 0]], y=Y), r"of the shape \[3, 2, 1, 2\]"),
    ],
)
def test_what_is_no_data_set_is_told(make: Callable[[], io.BytesIO], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        read(make())


def test_an_encrypted_file_is_refused_before_it_is_read() -> None:
    content = bytearray(npz(x=X).getvalue())
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    content[6] |= 1
    with pytest.raises(ModelError, match="is encrypted"):
        read(io.BytesIO(bytes(content)))


def test_arrays_for_several_inputs_that_are_missing_are_listed() -> None:
    with pytest.raises(ModelError, match=r"lacks the array 'tokens', 'mask'; it needs one for each input"):
        read(npz(x=X, y=Y), spec("tokens"), spec("mask"))
    with pytest.raises(ModelError, match="cannot hold the model's input 'y'"):
        read(npz(a=X, y=Y), spec("a"), spec("y"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: zipped({"x.npy": bytes(60 * MAX_BYTES)}),  # says how large it is
        lambda: zipped({"x.npy": header(f"({60 * MAX_BYTES}, 2)")}),  # a header of which nothing is there
        lambda: lying(60 * MAX_BYTES),  # unpacks to more than it says
    ],
)
def test_no_more_memory_is_taken_than_allowed(make: Callable[[], io.BytesIO]) -> None:
    file = make()
    tracemalloc.start()
    try:
        with pytest.raises(ModelError):
            read(file)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 2 * MAX_BYTES


def lying(size: int) -> io.BytesIO:
    """A zip bomb whose directory says that it unpacks to 8 bytes and a header."""
    start = header("(1, 2)")
    content = bytearray(zipped({"x.npy": start + bytes(size)}).getvalue())
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = (len(start) + 8).to_bytes(4, "little")
    return io.BytesIO(bytes(content))


@FEW
@given(place=some.integers(0, 500), value=some.integers(0, 255))
def test_a_changed_byte_is_an_error_that_is_told_or_changes_nothing(place: int, value: int) -> None:
    content = bytearray(npz(x=X, y=Y).getvalue())
    content[place % len(content)] = value
    try:
        data = read(io.BytesIO(bytes(content)))
    except ModelError:
        return
    assert data.inputs["x"].tolist() == X.tolist()


def test_a_model_of_texts_is_not_judged_by_numbers() -> None:
    with pytest.raises(ModelError, match="cannot hold the model's input 'text', which is texts"):
        read(npz(x=np.array([1, 2]), y=np.array([0, 1])), TensorSpec("text", BYTES, (-1,)))
