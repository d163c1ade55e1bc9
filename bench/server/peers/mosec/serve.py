"""mosec: its HTTP server in Rust, Python processes behind it; orjson in place of its own JSON, as its guide shows.

The shortest wait for a batch that it knows is 1 ms (0 means its default of 10).
"""

import numpy as np
import orjson
from given import MODEL, PROCESSES, Plain, answer_of, rows_of
from mosec import Server, Worker


class Model(Worker):
    """The model."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Plain()

    def deserialize(self, data: bytes) -> np.ndarray:
        """Read one request."""
        return rows_of(orjson.loads(data))

    def serialize(self, data: np.ndarray) -> bytes:
        """Write one answer."""
        return orjson.dumps(answer_of(data), option=orjson.OPT_SERIALIZE_NUMPY)

    def forward(self, data: list[np.ndarray]) -> list[np.ndarray]:
        """Answer a batch."""
        return np.split(self.model(np.concatenate(data)), len(data))


if __name__ == "__main__":
    server = Server()
    server.append_worker(Model, num=PROCESSES, max_batch_size=MODEL.max_batch, max_wait_time=1, timeout=60)
    server.run()
