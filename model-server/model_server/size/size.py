"""What a model needs, and what it may do in a second, on each machine that is asked about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.artefact.card import GOLDEN, Trust
from model_server.golden import read_golden, simplest_inputs
from model_server.model import read
from model_server.precision import Precision
from model_server.size.cost import Cost, cost_of
from model_server.size.hardware import ACCELERATORS, BYTES, Hardware

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from model_server.protocol.datatypes import Arrays

MARGIN = 1.1  # allocators keep more than they hand out


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the model is to be used, and what on."""

    batch: int = 1
    trust: Trust = Trust.DATA
    hardware: tuple[Hardware, ...] = ACCELERATORS


def size(directory: Path, options: Options) -> dict[str, Any]:
    """Run the model once and tell what it took."""
    loaded = read(directory, None, options.trust, Precision.FLOAT32)
    signature, module = loaded.signature, loaded.built.module
    golden = read_golden(directory / GOLDEN, signature)
    inputs = _tiled(golden.inputs if golden else simplest_inputs(signature), options.batch)
    weights = sum(each.numel() for each in (*module.parameters(), *module.buffers()))
    forward = loaded.forward_of(loaded.built)
    cost = cost_of(lambda: forward(inputs))
    fits = [_told(each, weights, cost, options.batch) for each in options.hardware]
    return {
        "parameters": weights,
        "batch": options.batch,
        "inputs": {spec.name: list(rows.shape) for spec, rows in zip(signature.inputs, inputs, strict=True)},
        "operations": cost.operations,
        "steps": len(cost.steps),
        "weights_bytes": {precision: weights * each for precision, each in BYTES.items()},
        "activations_bytes": {
            precision: cost.peak_values * BYTES[precision] for precision in BYTES if precision != "Int8"
        },
        "hardware": fits,
        "smallest": next((each["name"] for each in fits if each["fits"]), None),
    }


def seconds_of_pass(cost: Cost, hardware: Hardware, precision: str) -> float:
    """Add up the steps."""
    return hardware.pass_seconds + sum(
        hardware.seconds(step.kind, step.operations, step.values, precision) for step in cost.steps
    )


def _told(hardware: Hardware, weights: int, cost: Cost, batch: int) -> dict[str, Any]:
    """Say for each precision that the machine has what is needed and done."""
    precisions = {}
    for precision in hardware.precisions:
        width = BYTES[precision]
        needed = hardware.runtime_bytes + MARGIN * (weights * width + cost.peak_values * max(width, 2))
        seconds = seconds_of_pass(cost, hardware, precision)
        precisions[precision] = {
            "memory_bytes": round(needed),
            "fits": needed <= hardware.memory_bytes,
            "seconds_per_batch": float(f"{seconds:.3g}"),
            "rows_per_second": float(f"{batch / seconds:.3g}"),
        }
    return {
        "name": hardware.name,
        "memory_bytes": hardware.memory_bytes,
        "fits": any(each["fits"] for each in precisions.values()),
        "precisions": precisions,
    }


def _tiled(inputs: Arrays, rows: int) -> Arrays:
    return tuple(np.resize(each, (rows, *each.shape[1:])) for each in inputs)


# -- for people


def as_text(told: Mapping[str, Any]) -> str:
    """Write it as a table."""
    shapes = ", ".join(f"{name} {shape}" for name, shape in told["inputs"].items())
    weights = ", ".join(f"{_amount(each)}B in {precision}" for precision, each in told["weights_bytes"].items())
    lines = [
        f"parameters   {told['parameters']:,}",
        f"weights      {weights}",
        f"inputs       {shapes}",
        f"one pass     {_amount(told['operations'])} operations in {told['steps']} steps",
        f"activations  {_amount(told['activations_bytes']['Float32'])}B in Float32",
        "",
        f"{'':<18}{'precision':<11}{'memory':>9}{'of':>9}  fits{'a pass':>12}{'rows a second':>15}",
    ]
    for each in told["hardware"]:
        for precision, of in each["precisions"].items():
            lines.append(
                f"{each['name']:<18}{precision:<11}{_amount(of['memory_bytes']) + 'B':>9}"
                f"{_amount(each['memory_bytes']) + 'B':>9}  {'yes' if of['fits'] else 'no':<4}"
                f"{of['seconds_per_batch'] * 1000:>9.3g} ms{of['rows_per_second']:>15,.0f}"
            )
    smallest = told["smallest"] or "none of these; spread it over several, or make it smaller (model-server optimize)"
    return "\n".join([*lines, "", f"the smallest that fits: {smallest}"])


def _amount(number: float) -> str:
    power = min(int(np.log10(max(number, 1)) / 3), 4)
    return f"{number / 1000**power:.3g} {' kMGT'[power].strip()}"
