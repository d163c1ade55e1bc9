"""Asks one model over and over until stdin ends. Runs in the client's pod, so it knows nothing but Python.

Each asker waits a little after each answer. With a period it asks at fixed times instead, however long answers take (an
open loop, as long as they take less than that); a line of stdin says how many of them there are to be from then on.

Half of the askers open a connection for each request, the other half keep theirs, as pools do: a pod that leaves must
lose neither. Nothing is asked twice: whatever is not a good answer is a failure. What happened so far is printed as a
line of JSON now and then, and at the end.
"""

from __future__ import annotations

import collections
import functools
import http.client
import json
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

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


def ask(
    address: str,
    port: int,
    path: str,
    body: str,
    *,
    keep: bool,
    period: float,
    tally: Tally,
    stop: threading.Event,
    due: float,
) -> None:
    """Ask until told to stop, from a time on."""
    kind = "kept" if keep else "fresh"
    connection = http.client.HTTPConnection(address, port, timeout=PATIENCE_SECONDS)
    last = "no pod before"
    began = time.monotonic()
    while not stop.wait(max(0.0, due - time.monotonic())):
        asked = time.monotonic()
        due += period
        try:
            connection.request("POST", path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            tally.failed(f"{asked - began:.2f} s, {kind} connection, after {last}: {type(error).__name__}: {error}")
            connection.close()
            due = due if period else time.monotonic() + PAUSE_SECONDS
            continue
        pod = answer.headers["x-served-by"] or "a server without a name"
        if answer.status != http.client.OK or "outputs" not in json.loads(content):
            tally.failed(f"{asked - began:.2f} s, {kind} connection, {pod}: {answer.status} {content.decode()}")
        else:
            tally.answered(pod, time.monotonic() - asked)
        last = pod
        if not keep:
            connection.close()
        due = due if period else time.monotonic() + PAUSE_SECONDS


class Crowd:
    """As many askers as there are to be."""

    def __init__(self, ask: Callable[..., None], period: float) -> None:
        self._ask, self._period = ask, period
        self._askers: list[tuple[threading.Thread, threading.Event]] = []
        self._leaving: list[threading.Thread] = []

    def be(self, number: int) -> None:
        """Let more come, or some go after their next answer."""
        while len(self._askers) < number:
            place, stop = len(self._askers), threading.Event()
            due = time.monotonic() + (self._period or PAUSE_SECONDS) * (place * 0.618 % 1)  # spread evenly
            asker = threading.Thread(target=self._ask, kwargs={"keep": bool(place % 2), "stop": stop, "due": due})
            self._askers.append((asker, stop))
            asker.start()
        while len(self._askers) > number:
            asker, stop = self._askers.pop()
            stop.set()
            self._leaving.append(asker)

    def end(self) -> None:
        """Wait until all have gone."""
        self.be(0)
        for asker in self._leaving:
            asker.join()


def main() -> None:
    """Start the askers, tell what they see, end with stdin."""
    host, port, path, body, number, period = sys.argv[1:]
    address = socket.gethostbyname(host)  # once: it is the model that is tested, not the cluster's DNS
    tally = Tally()
    asker = functools.partial(ask, address, int(port), path, body, period=float(period), tally=tally)
    crowd = Crowd(asker, float(period))
    crowd.be(int(number))

    def obey() -> None:
        for line in sys.stdin:
            crowd.be(int(line))

    orders = threading.Thread(target=obey, daemon=True)
    orders.start()
    while orders.is_alive():
        orders.join(TELL_SECONDS)
        tally.tell()
    crowd.end()
    tally.tell()


if __name__ == "__main__":
    main()
