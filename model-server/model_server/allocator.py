"""Keep the memory of a forward pass for the next one.

glibc gives what is large back to the kernel as soon as it is free, and the kernel fills it with zeros before it is had
again. A model that computes for milliseconds spends up to a seventh of them on that (measured, an encoder of 6 layers
of width 256, 64 connections: 777 rows per second in bfloat16, 903 with what is set here; 270 and 288 in FP32).
"""

from __future__ import annotations

import ctypes

# The constants are those of glibc's malloc.h; 32 MiB is the most that it takes for the second.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES, _LARGE_BYTES = 128 << 20, 32 << 20


def keep_memory() -> None:
    """Take blocks of up to 32 MiB from the heap, and let it keep 128 MiB that are free; without glibc do nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
