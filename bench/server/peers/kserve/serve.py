"""KServe's Python server: REST only, no line of log per request (log.json). It does not batch."""

import kserve
import kserve.protocol.rest.server as rest
from given import NAME, PORT, PROCESSES, Plain


class Model(kserve.Model):
    """The model."""

    def __init__(self) -> None:
        super().__init__(NAME)
        self.model = Plain()
        self.ready = True

    async def predict(self, payload: kserve.InferRequest, _headers: dict[str, str]) -> kserve.InferResponse:
        """Answer one request."""
        answer = self.model(payload.inputs[0].as_numpy())
        output = kserve.InferOutput("y", list(answer.shape), "FP32", answer.reshape(-1).tolist())
        return kserve.InferResponse(payload.id or "", NAME, [output])


class Loopback(rest.uvicorn.Config):
    """It listens on every address, and no setting says otherwise."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options | {"host": "127.0.0.1"})


if __name__ == "__main__":
    rest.uvicorn.Config = Loopback
    server = kserve.ModelServer(http_port=PORT, workers=PROCESSES, enable_grpc=False, enable_latency_logging=False)
    server.start([Model()])
