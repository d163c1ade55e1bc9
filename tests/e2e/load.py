"""Asks one model over and over until stdin ends. Runs in the client's pod, so it knows nothing but Python.

Half of the askers open a connection for each request, the other half keep theirs, as pools do: a pod that leaves must
lose neither. Nothing is asked twice: whatever is not a good answer is a failure. What happened so far is printed as a
line of JSON now and then, and at the end.
"""

from __future__ import annotations

import collections
import http.client
import json
import socket
import sys
import threading
import time

PAUSE_SECONDS = 0.1  # of each asker between two requests
PATIENCE_SECONDS = 15.0  # longer than the server's own
TELL_SECONDS = 0.25


class Tally:
    """What the askers have seen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: collections.Counter[str] = collections.Counter()  # by pod
        self._last: dict[str, float] = {}  # by pod, when it answered last, in seconds since 1970
        self._failures: list[str] = []
        self._slowest_seconds = 0.0

    def answered(self, pod: str, seconds: float) -> None:
        """Count a good answer."""
        with self._lock:
            self._answers[pod] += 1
            self._last[pod] = time.time()
            self._slowest_seconds = max(self._slowest_seconds, seconds)

    def failed(self, what: str) -> None:
        """Keep what was no good answer."""
        with self._lock:
            self._failures.append(what)

    def tell(self) -> None:
        """Print all of it."""
        with self._lock:
            told = {
                "answers": self._answers,
                "last": self._last,
                "failures": self._failures,
                "slowest_seconds": self._slowest_seconds,
            }
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()


def ask(address: str, port: int, path: str, body: str, *, keep: bool, tally: Tally, stop: threading.Event) -> None:
    """Ask until told to stop."""
    kind = "kept" if keep else "fresh"
    connection = http.client.HTTPConnection(address, port, timeout=PATIENCE_SECONDS)
    last = "no pod before"
    began = time.monotonic()
    while not stop.wait(PAUSE_SECONDS):
        asked = time.monotonic()
        try:
            connection.request("POST", path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            tally.failed(f"{asked - began:.2f} s, {kind} connection, after {last}: {type(error).__name__}: {error}")
            connection.close()
            continue
        pod = answer.headers["x-served-by"] or "a server without a name"
        if answer.status != http.client.OK or "outputs" not in json.loads(content):
            tally.failed(f"{asked - began:.2f} s, {kind} connection, {pod}: {answer.status} {content.decode()}")
        else:
            tally.answered(pod, time.monotonic() - asked)
        last = pod
        if not keep:
            connection.close()


def main() -> None:
    """Start the askers, tell what they see, end with stdin."""
    host, port, path, body, askers_wanted = sys.argv[1:]
    address = socket.gethostbyname(host)  # once: it is the model that is tested, not the cluster's DNS
    tally, stop = Tally(), threading.Event()
    askers = [
        threading.Thread(
            target=ask,
            args=(address, int(port), path, body),
            kwargs={"keep": bool(number % 2), "tally": tally, "stop": stop},
        )
        for number in range(int(askers_wanted))
    ]
    for asker in askers:
        asker.start()
    ended = threading.Thread(target=sys.stdin.read, daemon=True)
    ended.start()
    while ended.is_alive():
        ended.join(TELL_SECONDS)
        tally.tell()
    stop.set()
    for asker in askers:
        asker.join()
    tally.tell()


if __name__ == "__main__":
    main()
