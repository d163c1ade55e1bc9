"""MLServer: adaptive batching, inference in the server's own process when there is one, no access log, no gzip."""

import asyncio

import numpy as np
from given import MODEL, NAME, PORT, PROCESSES, SPARE_PORTS, Plain
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import install_uvloop_event_loop


class Model(MLModel):
    """The model."""

    async def load(self) -> bool:
        """Load it, in the process that computes."""
        self.model = Plain()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a batch."""
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32, copy=False)
        output = NumpyCodec.encode_output("y", self.model(rows))
        return InferenceResponse(model_name=self.name, outputs=[output])


async def main() -> None:
    """Serve."""
    settings = Settings(
        debug=False,
        host="127.0.0.1",
        http_port=PORT,
        grpc_port=SPARE_PORTS[0],
        metrics_endpoint=None,
        parallel_workers=PROCESSES if PROCESSES > 1 else 0,
        gzip_enabled=False,
    )
    model = ModelSettings(name=NAME, implementation="serve.Model", max_batch_size=MODEL.max_batch, max_batch_time=0.002)
    await MLServer(settings).start([model])


if __name__ == "__main__":
    install_uvloop_event_loop()
    asyncio.run(main())
