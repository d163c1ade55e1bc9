"""What a pass has used is there for the next: counted in the pages that the kernel had to give to a new process."""

from __future__ import annotations

import subprocess
import sys

_BLOCKS, _BLOCK_BYTES, _ROUNDS = 4, 8 << 20, 10
_PAGES = _BLOCKS * _BLOCK_BYTES // 4096
_PASSES = f"""
import resource
def work(rounds):
    for _ in range(rounds):
        blocks = [bytearray(b"x") * {_BLOCK_BYTES} for _ in range({_BLOCKS})]
        del blocks
work(2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work({_ROUNDS})
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages_needed(first: str) -> int:
    done = subprocess.run([sys.executable, "-c", first + _PASSES], check=True, capture_output=True, text=True)
    return int(done.stdout)


def test_large_blocks_are_not_given_back_after_each_pass() -> None:
    assert pages_needed("from model_server.allocator import keep_memory; keep_memory()") < _PAGES / 10


def test_without_that_they_are() -> None:
    """Else the first test could not fail."""
    assert pages_needed("") > _PAGES * _ROUNDS / 2
