"""Arrays become an answer's bytes: JSON, or JSON and then the tensors that were asked for as binary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model_server.protocol.datatypes import Arrays, Signature, TensorSpec
    from model_server.protocol.decode import InferRequest


def encode(asked: InferRequest, outputs: Arrays, frame: Mapping[str, str], signature: Signature) -> tuple[bytes, int]:
    """Answer a request; the second value is the length of the JSON where binary tensors follow it, else 0.

    `frame` is what every answer of this model begins with (its name and version). Values that JSON cannot express
    (NaN, infinity) become null; the binary form carries them.
    """
    tensors: list[dict[str, object]] = []
    binary: list[bytes] = []
    for wanted in asked.wanted:
        spec = signature.outputs[wanted.index]
        array = np.ascontiguousarray(outputs[wanted.index])
        tensor: dict[str, object] = {"name": spec.name, "datatype": spec.datatype.name, "shape": array.shape}
        if wanted.binary:
            tensor["parameters"] = {"binary_data_size": array.nbytes}
            binary.append(array.tobytes())
        else:
            tensor["data"] = array.reshape(-1)
        tensors.append(tensor)
    answer = {**frame, "id": asked.id, "outputs": tensors} if asked.id else {**frame, "outputs": tensors}
    text = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join((text, *binary)), len(text)) if binary else (text, 0)


def encode_error(message: str) -> bytes:
    """Say what went wrong, as every error of the protocol is said."""
    return orjson.dumps({"error": message})


def encode_metadata(
    *, name: str, version: str, platform: str, signature: Signature, parameters: Mapping[str, object]
) -> bytes:
    """Describe the model to clients."""
    return orjson.dumps(
        {
            "name": name,
            "versions": [version],
            "platform": platform,
            "inputs": [_described(spec) for spec in signature.inputs],
            "outputs": [_described(spec) for spec in signature.outputs],
            "parameters": parameters,
        }
    )


def _described(spec: TensorSpec) -> dict[str, object]:
    return {"name": spec.name, "datatype": spec.datatype.name, "shape": spec.shape}
