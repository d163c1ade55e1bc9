"""A model that is being served: described, asked and timed over its endpoint."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from model_server.evaluate.pace import latencies, sweep
from model_server.evaluate.wire import read_answer, read_interface, takes_binary, write_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_server.evaluate.endpoint import Endpoint, Line
    from model_server.evaluate.judged import Inputs
    from model_server.evaluate.pace import Level
    from model_server.evaluate.wire import Interface
    from model_server.protocol.datatypes import Array

_TOO_MUCH_AT_ONCE: tuple[int, ...] = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


class Served:
    """What the evaluation asks of a model, over one connection, or over many where that is the question."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.name = endpoint.model
        self._path = endpoint.model_path
        self._open_line = endpoint.opener()
        self._line: Line = self._open_line()

    def interface(self, output: str) -> Interface:
        """Ask for the model's metadata, and for what its server can read."""
        reply = self._line.get(self._path)
        if reply.status != HTTPStatus.OK:
            self._line.refuse(reply, f"GET {self._path}")
        server = self._line.get("/v2")
        is_binary = server.status == HTTPStatus.OK and takes_binary(server.body)
        return read_interface(reply.body, output, binary=is_binary)

    def takes(self, interface: Interface, inputs: Inputs) -> bool:
        """Tell whether the server takes so many rows at once; what it does not take at all is told later."""
        return self._line.offer(write_request(interface, inputs)).status not in _TOO_MUCH_AT_ONCE

    def answer(self, interface: Interface, inputs: Inputs) -> Array:
        """Ask about some rows."""
        reply = self._line.ask(write_request(interface, inputs))
        return read_answer(reply.body, reply.json_bytes, interface.output)

    def seconds(self, interface: Interface, samples: Sequence[Inputs]) -> list[float]:
        """Time one request after the other, from its first byte to the answer's last."""
        requests = [write_request(interface, each) for each in samples]
        return latencies(lambda request: self._line.ask(request).seconds, requests)

    def levels(self, interface: Interface, samples: Sequence[Inputs]) -> list[Level]:
        """Ask from ever more connections at once."""
        return sweep(self._open_line, [write_request(interface, each) for each in samples])

    def close(self) -> None:
        """Leave."""
        self._line.close()
