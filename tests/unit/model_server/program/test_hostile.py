"""A `.pt2` that is more than data is refused by name under trust Data, and nothing of it runs."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from model_server.errors import ModelError, NeedsNativeError
from model_server.model import load
from unit.model_server.program.exported import Entries, changed, directory, entries_of, packed, perceptron

if TYPE_CHECKING:
    from collections.abc import Callable

WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
MODEL = "models/model.json"


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> Any:  # noqa: ANN401
        return Path.touch, (self._canary,)


@pytest.fixture(name="canary")
def a_file_that_must_not_appear(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def hostile_pickle(canary: Path) -> bytes:
    """Write what torch.load unpickles, with something else in it."""
    buffer = io.BytesIO()
    torch.save(torch.zeros(1), buffer)
    entries = entries_of(buffer.getvalue())
    return packed({**entries, "data.pkl": pickle.dumps(Touch(canary), protocol=2)})


def with_entries(change: Callable[[Entries], object]) -> bytes:
    entries = entries_of(perceptron())
    change(entries)
    return packed(entries)


def with_nodes(change: Callable[[list[Any]], object]) -> bytes:
    return changed(MODEL, lambda document: change(document["graph_module"]["graph"]["nodes"]))


def refusal(archive: bytes, path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load(directory(path / "m", archive))
    return caught.value


def pickled_weight(canary: Path) -> bytes:
    def change(entries: Entries) -> None:
        config = json.loads(entries[WEIGHTS])
        payload = next(iter(config["config"].values()))
        payload["use_pickle"] = True
        entries[WEIGHTS] = json.dumps(config).encode()
        entries[f"data/weights/{payload['path_name']}"] = hostile_pickle(canary)

    return with_entries(change)


def pickled_constant(canary: Path) -> bytes:
    def change(entries: Entries) -> None:
        config = json.loads(entries[CONSTANTS])
        next(iter(config["config"].values()))["use_pickle"] = True
        entries[CONSTANTS] = json.dumps(config).encode()
        entries["data/constants/tensor_0"] = hostile_pickle(canary)

    return with_entries(change)


def custom_object(canary: Path) -> bytes:
    def change(entries: Entries) -> None:
        config = json.loads(entries[CONSTANTS])
        payload = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
        config["config"]["thing"] = payload
        entries[CONSTANTS] = json.dumps(config).encode()
        entries["data/constants/opaque_obj_0"] = pickle.dumps(Touch(canary), protocol=2)

    return with_entries(change)


def sample_inputs(canary: Path) -> bytes:
    return with_entries(lambda entries: entries.update({"data/sample_inputs/model.pt": hostile_pickle(canary)}))


def size_expression(canary: Path) -> bytes:
    def change(document: Any) -> None:  # noqa: ANN401
        sizes = document["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
        sizes[0]["as_expr"]["expr_str"] = f"__import__('pathlib').Path('{canary}').touch()"

    return changed(MODEL, change)


HOSTILE = (pickled_weight, pickled_constant, custom_object, sample_inputs, size_expression)


@pytest.mark.parametrize("make", HOSTILE)
def test_torch_itself_would_run_it(make: Callable[[Path], bytes], canary: Path) -> None:
    """So that the next test is about something."""
    with contextlib.suppress(Exception):  # it comes too late
        torch.export.load(io.BytesIO(make(canary)))
    assert canary.exists()


@pytest.mark.parametrize(
    ("make", "said"),
    list(
        zip(
            HOSTILE,
            [
                "its tensor 'first.weight' is pickled",
                "its tensor 'shift' is pickled",
                "its entry 'data/constants/opaque_obj_0' is an object that only unpickling could read",
                r"data/sample_inputs/model.pt is refused: data.pkl does more than describe tensors \(GLOBAL pathlib",
                "is not one of sizes",
            ],
            strict=True,
        )
    ),
)
def test_here_it_is_refused_and_nothing_of_it_runs(
    make: Callable[[Path], bytes], said: str, canary: Path, tmp_path: Path
) -> None:
    error = refusal(make(canary), tmp_path)
    assert isinstance(error, NeedsNativeError)
    pytest.raises(ModelError, match=said).matches(error)
    assert "spec.model.trust: Native" in error.message
    assert not canary.exists()


@pytest.mark.parametrize(
    "expression",
    [
        "().__class__.__base__.__subclasses__()",
        "lambda: 0",
        "[x for x in (1,)]",
        "Symbol('s0').__class__",
        "Symbol('__import__')",
        "open('/etc/passwd')",
        "s0 if s0 else s1",
        "(" * 300 + "s0" + ")" * 300,
        "s0 " * 3000,
        "f'{s0}'",
        "Symbol(s0, evil=True)",
        "Symbol('s0', positive=print('x'))",
    ],
)
@pytest.mark.parametrize("place", ["size", "anywhere", "guard"])
def test_an_expression_that_is_not_one_of_sizes_is_refused(expression: str, place: str, tmp_path: Path) -> None:
    def change(document: Any) -> None:  # noqa: ANN401
        if place == "guard":
            document["guards_code"].append(f"{expression} == 1")
        elif place == "size":
            document["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]["as_expr"]["expr_str"] = expression
        else:
            document["graph_module"]["graph"]["sym_int_values"]["u0"] = {"as_expr": {"expr_str": expression}}

    assert "not one of sizes" in refusal(changed(MODEL, change), tmp_path).message


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.empty.memory_format",
        "torch.ops.aten.as_strided.default",
        "torch.ops.aten.add.out",
        "torch.ops.aten.relu.__call__.__globals__",
        "torch.ops.higher_order.cond",
        "torch.ops.mylib.anything.default",
        "torch.ops.load_library",
        "torch.hub.load",
        "_operator.attrgetter",
        "_operator.pow",
        "math.factorial",
        "os.system",
        "builtins.eval",
        "",
    ],
)
def test_an_operator_outside_the_list_is_refused(target: str, tmp_path: Path) -> None:
    error = refusal(with_nodes(lambda nodes: nodes[0].update(target=target)), tmp_path)
    assert f"it calls {target!r}, which is not among the operators allowed here" in error.message


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ({"as_graph": {"name": "g", "graph": {}}}, "an argument of the kind as_graph"),
        ({"as_operator": "os.system"}, "an argument of the kind as_operator"),
        ({"as_custom_obj": {"name": "o", "class_fqn": "os"}}, "an argument of the kind as_custom_obj"),
        ({"as_tensor": {"name": "nothing"}}, "it uses 'nothing' before it is there"),
        ({"as_scalar_type": 99}, "as_scalar_type 99, which is not known here"),
        ({"as_int": "os"}, "is not of the schema"),
        ({"as_int": 1, "as_bool": True}, "has 2 members instead of one"),
        ({}, "has 0 members instead of one"),
    ],
)
def test_an_argument_that_is_no_tensor_number_or_word_is_refused(argument: Any, said: str, tmp_path: Path) -> None:  # noqa: ANN401
    def change(nodes: list[Any]) -> None:
        nodes[0]["inputs"][0]["arg"] = argument

    assert said in refusal(with_nodes(change), tmp_path).message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["schema_version"].update(major=9), "its schema has the version 9; this server reads 8"),
        (lambda d: d.update(init_code="import os"), "unknown field `init_code`"),
        (lambda d: d["graph_module"]["signature"]["input_specs"].append({"token": {}}), "an input of the kind token"),
        (
            lambda d: d["graph_module"]["signature"]["input_specs"].append({"custom_obj": {"arg": {"name": "o"}}}),
            "an input of the kind custom_obj",
        ),
        (
            lambda d: d["graph_module"]["signature"]["output_specs"].append({"buffer_mutation": {}}),
            "an output of the kind buffer_mutation; a served model keeps no state",
        ),
        (lambda d: d["graph_module"]["graph"]["nodes"].append(d["graph_module"]["graph"]["nodes"][0]), "twice"),
    ],
)
def test_a_document_that_says_more_is_refused(change: Callable[[Any], object], said: str, tmp_path: Path) -> None:
    assert said in refusal(changed(MODEL, change), tmp_path).message


def first_meta(**change: object) -> Callable[[Any], object]:
    return lambda document: document["config"]["first.weight"]["tensor_meta"].update(change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (first_meta(sizes=[{"as_int": 8000}, {"as_int": 4}]), "reaches past its 128 bytes"),
        (first_meta(storage_offset={"as_int": 1}), "reaches past its 128 bytes"),
        (first_meta(strides=[{"as_int": 10**18}, {"as_int": 10**18}]), "reaches past its 128 bytes"),
        (first_meta(strides=[{"as_int": -4}, {"as_int": 1}]), "has no plain shape"),
        (first_meta(sizes=[{"as_int": 8}]), "has no plain shape"),
        (first_meta(layout=2), "has no plain shape"),
        (first_meta(dtype=99), "has the datatype 99, which is not known here"),
        (lambda document: document["config"].pop("first.weight"), "it lacks the tensor 'first.weight'"),
        (lambda document: document["config"]["first.weight"].update(path_name="../../etc/passwd"), "it has no data"),
    ],
)
def test_a_tensor_beyond_its_bytes_is_refused(change: Callable[[Any], object], said: str, tmp_path: Path) -> None:
    assert said in refusal(changed(WEIGHTS, change), tmp_path).message


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("data/aotinductor/model/model.so", "is compiled code"),
        ("data/aotinductor/model/model.wrapper.cpp", "is compiled code"),
        ("data/weights/model.pt", "is weights in torch's old, pickled form"),
        ("data/constants/model.pt", "is weights in torch's old, pickled form"),
        ("data/constants/custom_obj_0", "is an object that only unpickling could read"),
        ("code/__torch__.py", "is TorchScript"),
        ("surprise", "is nothing known here"),
        ("models/other.json", "it has 2 models; one is served"),
        ("../../../tmp/slip", "points out of it"),
        ("data/./weights/weight_0", "points out of it"),
        ("data//weights/weight_0", "points out of it"),
        ("data\\weights\\slip", "points out of it"),
    ],
)
def test_an_entry_that_does_not_belong_there_is_refused(name: str, said: str, tmp_path: Path) -> None:
    assert said in refusal(with_entries(lambda entries: entries.update({name: b"{}"})), tmp_path).message


def appended(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO(packed(entries_of(perceptron())))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    assert (
        "the entry 'models/model.json' twice" in refusal(appended("model/models/model.json", b"{}"), tmp_path).message
    )


@pytest.mark.parametrize(("name", "said"), [("/etc/passwd", "points out of it"), ("other/extra/x", "instead of one")])
def test_entries_outside_the_one_folder_are_refused(name: str, said: str, tmp_path: Path) -> None:
    assert said in refusal(appended(name, b"{}"), tmp_path).message


def test_a_compressed_archive_is_refused_for_what_it_could_unpack_to(tmp_path: Path) -> None:
    archive = packed({**entries_of(perceptron()), "extra/bomb": bytes(10_000_000)}, zipfile.ZIP_DEFLATED)
    assert len(archive) < 100_000
    assert "torch stores entries as they are" in refusal(archive, tmp_path).message


def test_sizes_that_the_file_cannot_hold_are_refused(tmp_path: Path) -> None:
    archive = bytearray(packed(entries_of(perceptron())))
    record = archive.rindex(b"PK\x01\x02")
    archive[record + 20 : record + 28] = (2**31 - 1).to_bytes(4, "little") * 2
    assert "claim more bytes than the file has" in refusal(bytes(archive), tmp_path).message


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda _archive: b"", "it is no zip archive"),
        (lambda archive: archive[: len(archive) // 2], "it is no zip archive"),
        (lambda archive: archive.replace(entries_of(archive)["data/weights/weight_1"], bytes(32)), "Bad CRC-32"),
        (
            lambda archive: packed({k: v for k, v in entries_of(archive).items() if k != WEIGHTS}),
            f"it has no {WEIGHTS}",
        ),
        (lambda archive: packed({**entries_of(archive), MODEL: b"{" * 100_000}), "is no JSON"),
        (lambda archive: packed({**entries_of(archive), MODEL: b"[" * 100_000}), "is no JSON"),
        (lambda archive: packed({**entries_of(archive), "archive_format": b"pt3"}), "archive_format is not pt2"),
        (lambda archive: packed({**entries_of(archive), "byteorder": b"big"}), "not little-endian"),
    ],
)
def test_a_broken_archive_is_told_from_a_hostile_one(
    damage: Callable[[bytes], bytes], said: str, tmp_path: Path
) -> None:
    error = refusal(damage(perceptron()), tmp_path)
    assert said in error.message
    assert not isinstance(error, NeedsNativeError)


def test_an_archive_that_is_not_there_is_named(tmp_path: Path) -> None:
    directory(tmp_path, b"")
    (tmp_path / "model.pt2").unlink()
    with pytest.raises(ModelError, match=r"model.pt2 is missing"):
        load(tmp_path)
