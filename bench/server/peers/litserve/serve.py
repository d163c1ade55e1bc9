"""LitServe: batches with a short timeout (without one it spins), ZeroMQ between its processes."""

import litserve
import numpy as np
import orjson
from fastapi import Response
from given import MODEL, PORT, PROCESSES, Plain, answer_of, rows_of


class Model(litserve.LitAPI):
    """The model."""

    def setup(self, _device: str) -> None:
        """Load it, in the process that computes."""
        self.model = Plain()

    def decode_request(self, request: dict) -> np.ndarray:
        """Read one request."""
        return rows_of(request)

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        """Put requests together."""
        return np.concatenate(inputs)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Answer a batch."""
        return self.model(x)

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        """Take answers apart."""
        return np.split(output, len(output))

    def encode_response(self, output: np.ndarray) -> Response:
        """Write one answer."""
        return Response(orjson.dumps(answer_of(output), option=orjson.OPT_SERIALIZE_NUMPY))


if __name__ == "__main__":
    server = litserve.LitServer(
        Model(max_batch_size=MODEL.max_batch, batch_timeout=0.002),
        accelerator="cpu",
        workers_per_device=PROCESSES,
        fast_queue=True,
        timeout=60,
    )
    server.run(
        host="127.0.0.1",
        port=PORT,
        num_api_servers=PROCESSES,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
