"""An HTTP proxy that spoils answers on demand and remembers what was asked: `python3 spoiler.py PORT BACKEND_PORT`.

Signatures stay valid, since requests are passed on as they are. `POST /-/fault` says what happens to whose answers,
`GET /-/asked` tells the requests so far. It runs in pods, too: the standard library only.
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

    cut: the connection ends at that byte of the body; hold: it pauses there until there is another fault;
    flip: that byte is another.
    """

    path: str = ""
    kind: str = ""
    at: int = 0
    times: int = 1_000_000


@dataclass
class Spoiler:
    """The proxy's state."""

    backend_port: int
    fault: Fault = field(default_factory=Fault)
    asked: list[str] = field(default_factory=list)
    reached: threading.Event = field(default_factory=threading.Event)  # the fault has happened
    changed: threading.Event = field(default_factory=threading.Event)

    def spoil(self, path: str = "", kind: str = "", at: int = 0, times: int = 1_000_000) -> None:
        """Have another fault from now on; nothing said: none."""
        self.fault = Fault(path, kind, at, times)
        self.reached.clear()
        self.changed.set()
        self.changed = threading.Event()

    def hits(self, path: str) -> Fault | None:
        """Return what is to happen to an answer."""
        fault = self.fault
        if not fault.kind or not path.partition("?")[0].endswith(fault.path) or fault.times <= 0:
            return None
        fault.times -= 1
        return fault

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

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                spoiler.spoil(**json.loads(self.rfile.read(length)))
                self._say(b"")

            def _pass_on(self) -> None:
                wanted = self.headers.get("Range", "")
                spoiler.asked.append(f"{self.command} {self.path} {wanted}".strip())
                fault = spoiler.hits(self.path) if self.command == "GET" else None
                changed = spoiler.changed
                if fault and fault.kind.isdigit():
                    self._say(b"", int(fault.kind))
                    return
                connection = http.client.HTTPConnection("127.0.0.1", spoiler.backend_port, timeout=60)
                with contextlib.closing(connection):
                    connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                    for name, value in self.headers.items():
                        connection.putheader(name, value)
                    connection.endheaders()
                    answer = connection.getresponse()
                    self.send_response_only(answer.status)
                    for name, value in answer.getheaders():
                        if name.lower() not in {"connection", "transfer-encoding"}:
                            self.send_header(name, value)
                    self.end_headers()
                    if self.command == "GET":
                        self._send(answer, fault, changed)

            def _send(self, answer: http.client.HTTPResponse, fault: Fault | None, changed: threading.Event) -> None:
                sent = 0
                while block := answer.read(_BLOCK_BYTES):
                    if fault and sent <= fault.at < sent + len(block):
                        at = fault.at - sent
                        if fault.kind == "flip":
                            block = block[:at] + bytes([block[at] ^ 1]) + block[at + 1 :]
                        else:
                            self.wfile.write(block[:at])
                            self.wfile.flush()
                            spoiler.reached.set()
                            if fault.kind == "cut":
                                return
                            changed.wait()
                            block, sent, fault = block[at:], sent + at, None
                    self.wfile.write(block)
                    sent += len(block)

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
