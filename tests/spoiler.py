"""An HTTP proxy that spoils answers on demand and remembers what was asked: `python3 spoiler.py PORT BACKEND_PORT`.

Signatures stay valid, since requests are passed on as they are. `POST /-/faults` lists what happens to whose answers,
from now on; `GET /-/asked` tells the requests so far. It runs in pods, too: the standard library only.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_BLOCK_BYTES = 64 * 1024


@dataclass
class Fault:
    """What happens to the answers whose path ends so: a status in their place, or something to their bytes.

    cut: nothing is told after that byte of the file; hold: its connection pauses there until the faults change; flip:
    that byte is another.
    """

    path: str
    kind: str
    at: int = 0
    times: int = 1_000_000

    def is_in(self, start: int, stop: int) -> bool:
        """Tell whether an answer with these bytes of the file would be another."""
        return self.kind.isdigit() or start <= self.at < stop or (self.kind == "cut" and self.at < start)


@dataclass
class Spoiler:
    """The proxy's state."""

    backend_port: int
    faults: list[Fault] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    reached: threading.Event = field(default_factory=threading.Event)  # a fault has happened
    changed: threading.Event = field(default_factory=threading.Event)

    def spoil(self, *faults: Fault) -> None:
        """Have these faults from now on, and no others."""
        self.faults = list(faults)
        self.reached.clear()
        self.changed.set()
        self.changed = threading.Event()

    def hits(self, path: str, start: int, stop: int) -> Fault | None:
        """Return what is to happen to an answer."""
        for fault in self.faults:
            if path.partition("?")[0].endswith(fault.path) and fault.is_in(start, stop) and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def server(self, address: tuple[str, int]) -> ThreadingHTTPServer:
        """Make the server."""
        spoiler = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/-/asked":
                    self._say(json.dumps(spoiler.asked).encode())
                else:
                    self._pass_on()

            def do_HEAD(self) -> None:
                self._pass_on()

            def do_PUT(self) -> None:
                self._pass_on()

            def do_DELETE(self) -> None:
                self._pass_on()

            def do_POST(self) -> None:
                spoiler.spoil(*(Fault(**each) for each in json.loads(self._body())))
                self._say(b"")

            def _body(self) -> bytes:
                return self.rfile.read(int(self.headers.get("Content-Length", "0")))

            def _pass_on(self) -> None:
                wanted = self.headers.get("Range", "")
                spoiler.asked.append(f"{self.command} {self.path} {wanted}".strip())
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                start, stop = int(first or 0), int(last) + 1 if last else sys.maxsize
                fault = spoiler.hits(self.path, start, stop) if self.command == "GET" else None
                changed = spoiler.changed
                if fault and fault.kind.isdigit():
                    self._say(b"", int(fault.kind))
                    return
                connection = http.client.HTTPConnection("127.0.0.1", spoiler.backend_port, timeout=60)
                with contextlib.closing(connection):
                    connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                    for name, value in self.headers.items():
                        if name.lower() != "expect":  # the body follows at once
                            connection.putheader(name, value)
                    connection.endheaders(self._body() or None)
                    answer = connection.getresponse()
                    self.send_response_only(answer.status)
                    for name, value in answer.getheaders():
                        if name.lower() not in {"connection", "transfer-encoding"}:
                            self.send_header(name, value)
                    self.end_headers()
                    if self.command != "HEAD":
                        self._send(answer, start, fault, changed)

            def _send(
                self, answer: http.client.HTTPResponse, told: int, fault: Fault | None, changed: threading.Event
            ) -> None:
                while block := answer.read(_BLOCK_BYTES):
                    if fault and fault.at < told + len(block):
                        at = max(fault.at - told, 0)
                        if fault.kind == "flip":
                            block, fault = block[:at] + bytes([block[at] ^ 1]) + block[at + 1 :], None
                        else:
                            self.wfile.write(block[:at])
                            self.wfile.flush()
                            spoiler.reached.set()
                            if fault.kind == "cut":
                                return
                            changed.wait()
                            block, told, fault = block[at:], told + at, None
                    self.wfile.write(block)
                    told += len(block)

            def _say(self, body: bytes, status: int = 200) -> None:
                self.send_response_only(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """Clients of these tests hang up, rightly."""

        return Server(address, Handler)


if __name__ == "__main__":
    Spoiler(int(sys.argv[2])).server(("", int(sys.argv[1]))).serve_forever()
