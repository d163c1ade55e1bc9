"""Pages on addresses of this machine, whose text the test says."""

from __future__ import annotations

import contextlib
import http.server
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

METRICS_PORT = 9090
_ENDS_WITHIN_SECONDS = 0.05
_OF_MODEL_SERVER = """\
# TYPE model_server_requests_total counter
model_server_requests_total{{code="200"}} 0
# TYPE model_server_inflight_requests gauge
model_server_inflight_requests {inflight}
"""


def of_model_server(inflight: float) -> str:
    """Return what a model server tells of itself that has so many requests and answers none."""
    return _OF_MODEL_SERVER.format(inflight=inflight)


@contextlib.contextmanager
def served(page: Callable[[], str], addresses: Iterable[str] = ("127.0.0.1",), port: int = 0) -> Iterator[int]:
    """Answer every request with the page while the block runs, and give the port; 0: any port that is free."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = page().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # who asked may have ended
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with contextlib.ExitStack() as ends:
        for address in addresses:
            server = ends.enter_context(http.server.ThreadingHTTPServer((address, port), Page))
            thread = threading.Thread(
                target=server.serve_forever, args=(_ENDS_WITHIN_SECONDS,), name=f"page of {address}"
            )
            thread.start()
            ends.callback(thread.join)
            ends.callback(server.shutdown)
        yield server.server_port
