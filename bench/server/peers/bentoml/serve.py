"""BentoML: adaptive batching in its own process, no access log, no metrics, no tracing."""

import bentoml
import numpy as np
from given import MODEL, PROCESSES, Plain


@bentoml.service(
    workers=PROCESSES,
    traffic={"timeout": 60},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Model:
    """The model."""

    def __init__(self) -> None:
        self.model = Plain()

    @bentoml.api(batchable=True, max_batch_size=MODEL.max_batch, max_latency_ms=60_000, route="/infer")
    def infer(self, x: np.ndarray) -> np.ndarray:
        """Answer a batch."""
        return self.model(x.astype(np.float32, copy=False))
