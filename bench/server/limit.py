"""The limit: reads a request whole, computes from its last bytes, answers; checks and decodes nothing.

    python bench/server/limit.py MODEL PORT PROCESSES

uvloop and httptools, as little Python as they allow. What a server adds to this is what its protocol costs.
"""

from __future__ import annotations

import asyncio
import os
import sys

import httptools
import numpy as np
import torch
import uvloop

from models import build
from shapes import MODELS

NAME, PORT, PROCESSES = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ROW = MODELS[NAME].row
SIZE = 4 * int(np.prod(ROW))
MODULE = build(NAME)


class Connection(asyncio.Protocol):
    """One client."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.body: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self.parser.feed_data(data)

    def on_body(self, part: bytes) -> None:
        """Keep a part."""
        self.body.append(part)

    def on_message_complete(self) -> None:
        """Answer."""
        memory = bytearray().join(self.body)  # the one copy
        rows = torch.from_numpy(np.frombuffer(memory, "<f4", offset=len(memory) - SIZE).reshape(1, *ROW))
        self.body = []
        with torch.inference_mode():
            answer = MODULE(rows).numpy().tobytes()
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))  # type: ignore[attr-defined]


async def main() -> None:
    """Serve."""
    torch.set_num_threads(1)
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", PORT, reuse_port=True)
    await server.serve_forever()


if __name__ == "__main__":
    for _ in range(PROCESSES - 1):
        if not os.fork():
            break
    uvloop.run(main())
