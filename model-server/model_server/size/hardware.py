"""Machines as a roofline sees them: memory, operations and bytes per second, and what it costs to begin a step.

    seconds of a pass = overhead of a pass + Σ over its steps of
                        (overhead of a step + max(operations / rate, bytes / bandwidth))

Of a machine that was measured the rate depends on how many operations a step has for each value that it reads or
writes, and the bandwidth on how many bytes move: a layer of few rows and a thin convolution are far from the peak, and
small tensors lie in a cache. Of the accelerators known here half of the maker's peaks are counted on (dense, SXM where
there are several), as well-kept kernels reach.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from model_server.errors import ModelError, Reason

if TYPE_CHECKING:
    from pathlib import Path

GIGA = 10**9
TERA = 10**12
BYTES = {"Float32": 4, "BFloat16": 2, "Float16": 2, "Int8": 1}
"""Of one weight."""

PRODUCTS, CONVOLUTIONS, POOLING = "products", "convolutions", "pooling"

Curve = tuple[tuple[float, float], ...]
"""Points, from left to right: what it depends on, and what is done in a second then. One point holds for all."""


class Hardware(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One machine, or one accelerator."""

    name: str
    memory_bytes: int
    runtime_bytes: int
    """What a server takes before it has a model."""
    operations_per_second: dict[str, dict[str, Curve]]
    """By kind of step and precision; multiplications, additions and comparisons count one each. Kinds that are not
    there are as fast as products."""
    bytes_per_second: Curve
    step_seconds: float
    """What a step costs that does nothing."""
    pass_seconds: float = 0.0
    """What a pass costs that has no steps."""

    @property
    def precisions(self) -> list[str]:
        """What it computes in."""
        return list(self.operations_per_second[PRODUCTS])

    def seconds(self, kind: str, operations: float, values: float, precision: str) -> float:
        """Estimate one step, which reads and writes so many values."""
        curves = self.operations_per_second.get(kind) or self.operations_per_second[PRODUCTS]
        computing = operations / _at(curves[precision], operations / values) if operations else 0.0
        moved = values * max(BYTES[precision], 2)  # what lies between int8 weights is wider
        return self.step_seconds + max(computing, moved / _at(self.bytes_per_second, moved))


def _at(curve: Curve, amount: float) -> float:
    """Read a curve between its points; both axes are logarithmic."""
    amounts, rates = zip(*curve, strict=True)
    return float(np.exp(np.interp(np.log(max(amount, 1e-3)), np.log(amounts), np.log(rates))))


def _accelerator(name: str, gigabytes: int, bandwidth: int, **teraflops: float) -> Hardware:
    return Hardware(
        name=name,
        memory_bytes=gigabytes * GIGA,
        runtime_bytes=GIGA,  # a CUDA context and torch's libraries
        operations_per_second={PRODUCTS: {each: ((1.0, peak * TERA / 2),) for each, peak in teraflops.items()}},
        bytes_per_second=((1.0, bandwidth * GIGA / 2),),
        step_seconds=5e-6,  # of launching a kernel
    )


# From the makers' data sheets. The smallest first.
ACCELERATORS = (
    _accelerator("nvidia-t4", 16, 320, Float32=8.1, Float16=65, Int8=130),
    _accelerator("nvidia-l4", 24, 300, Float32=30.3, Float16=121, BFloat16=121, Int8=242),
    _accelerator("nvidia-a10", 24, 600, Float32=31.2, Float16=125, BFloat16=125, Int8=250),
    _accelerator("nvidia-a100-40gb", 40, 1555, Float32=19.5, Float16=312, BFloat16=312, Int8=624),
    _accelerator("nvidia-a100-80gb", 80, 2039, Float32=19.5, Float16=312, BFloat16=312, Int8=624),
    _accelerator("nvidia-h100-80gb", 80, 3350, Float32=67, Float16=989, BFloat16=989, Int8=1979),
    _accelerator("nvidia-h200", 141, 4800, Float32=67, Float16=989, BFloat16=989, Int8=1979),
)


def read_hardware(path: Path) -> Hardware:
    """Read a profile, such as `--calibrate` writes."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Hardware)
    except (OSError, msgspec.MsgspecError) as error:
        message = f"{path} is no hardware profile: {error}; model-server size --calibrate FILE writes one."
        raise ModelError(Reason.INVALID, message) from error


def write_hardware(path: Path, hardware: Hardware) -> None:
    """Write a profile as people read it."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(hardware), indent=2) + b"\n")
