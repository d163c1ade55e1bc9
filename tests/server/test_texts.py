"""A model of texts behind its tokenizer, over real HTTP: BYTES in, vectors out."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import small_bert
from model_server.convert import convert
from server.support import Server, running, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INFER = "/v2/models/m/infer"
LENGTH = "inference-header-content-length"
TEXTS = ("Copper fell.", "a b " * 12, "", "é rose on Tuesday")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("texts")
    convert(small_bert.write(place / "bert"), place / "model")
    return place / "model"


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Server]:
    with running(model, "--precision", "Float32") as server:
        yield server


def body(*texts: str) -> bytes:
    tensor = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts}
    return json.dumps({"inputs": [tensor]}).encode()


def close(values: object, *texts: str) -> None:
    right = torch.stack([small_bert.embedding(text) for text in texts])
    torch.testing.assert_close(torch.tensor(values).view(len(texts), -1), right, rtol=1e-4, atol=1e-5)


def test_texts_in_json_become_vectors(server: Server) -> None:
    (output,) = server.post(INFER, body(*TEXTS)).json["outputs"]
    assert (output["datatype"], output["shape"]) == ("FP32", [len(TEXTS), small_bert.WIDTH])
    close(output["data"], *TEXTS)


def test_texts_in_binary_become_vectors_in_binary(server: Server) -> None:
    packed = b"".join(len(text.encode()).to_bytes(4, "little") + text.encode() for text in TEXTS)
    tensor = {"name": "text", "shape": [len(TEXTS)], "datatype": "BYTES"}
    head = json.dumps(
        {
            "inputs": [{**tensor, "parameters": {"binary_data_size": len(packed)}}],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    answer = server.post(INFER, head + packed, headers={LENGTH: str(len(head))})
    assert answer.status == 200, answer.body
    close(np.frombuffer(answer.body[int(answer.headers[LENGTH]) :], "<f4").copy(), *TEXTS)


def test_requests_of_all_lengths_at_once_each_get_their_own(server: Server) -> None:
    asked = [TEXTS[index % len(TEXTS)] + " b" * (index % 7) for index in range(40)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda text: server.post(INFER, body(text)).json, asked))
    for text, answer in zip(asked, answers, strict=True):
        close(answer["outputs"][0]["data"], text)


def test_its_metadata_say_bytes(server: Server) -> None:
    told = server.get("/v2/models/m").json
    assert told["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]


def test_two_processes_share_the_tokenizer(model: Path) -> None:
    with running(model, "--processes", "2", "--precision", "Float32") as server:
        close(server.post(INFER, body("copper")).json["outputs"][0]["data"], "copper")


def test_texts_are_not_explained(model: Path) -> None:
    with started(model, "--explain", "Saliency") as server:
        assert server.wait() == 1
        assert "explains numbers; this model takes texts" in json.loads(server.report.read_text())["message"]
