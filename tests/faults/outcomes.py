"""What becomes of the pods of the stories, which the names of their models and data sets say, and what they tell."""

from __future__ import annotations

import json
import os
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from controlplane.kubelet import crashing, ended, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Body = dict[str, Any]

WORSE, BROKEN = "file:///models/worse", "file:///models/broken"
GOOD, BAD, FLAKY = (f"https://models.example/{name}.npz" for name in ("good", "bad", "flaky"))
"""Data sets on which every model does well, does badly, and does well at the second try."""

_LONG_AGO = "2026-01-01T00:00:00Z"
_SCHEDULED = {"type": "PodScheduled", "status": "True", "lastTransitionTime": _LONG_AGO}
_INITIALIZED = {"type": "Initialized", "status": "True", "lastTransitionTime": _LONG_AGO}
_CONTROLLER = "batch.kubernetes.io/controller-uid"
_F1 = {GOOD: "0.95", BAD: "0.5", FLAKY: "0.95"}
_UNREACHABLE = json.dumps({"reason": "FetchFailed", "message": "https://models.example cannot be reached."})

# Pods that do not exist show their metrics at addresses that they share; other runs beside this one have others.
_NET = f"127.{100 + os.getpid() // 256 % 100}.{os.getpid() % 256}"
_WELL, _WORSE = f"{_NET}.1", f"{_NET}.2"
_PORT = 9090
_REQUESTS_PER_SECOND = 1000
_PAGE = """\
# TYPE model_server_requests_total counter
model_server_requests_total{{code="200"}} {good}
model_server_requests_total{{code="500"}} {bad}
"""


class Outcomes:
    """Knows which evaluations were tried before."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}  # by namespace, the UID of the first Job about a flaky data set

    def of(self, pod: Body) -> Body:
        """Return the status that a pod comes to."""
        containers = [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
        arguments = {argument for container in containers for argument in container.get("args", ())}
        dataset = next((each for each in _F1 if each in arguments), "")
        if dataset:
            state = self._evaluated(pod, dataset)
        elif BROKEN in arguments:
            state = crashing("KeyError: 'weights'")
            state["conditions"].append(_INITIALIZED)
        else:
            state = _served_at(_WORSE if WORSE in arguments else _WELL)
        return state | {"conditions": [_SCHEDULED, *state["conditions"]]}

    def _evaluated(self, pod: Body, dataset: str) -> Body:
        metadata = pod["metadata"]
        job = metadata["labels"][_CONTROLLER]
        if dataset == FLAKY and self._first.setdefault(metadata["namespace"], job) == job:
            return ended(_UNREACHABLE, 1)
        scores = {"digest": "sha256:" + "2" * 64, "rows": 360, "failed": 0, "metrics": {"f1": _F1[dataset]}}
        return ended(json.dumps(scores))


def _served_at(address: str) -> Body:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    state = serving()
    state["containerStatuses"][0]["state"] = {"running": {"startedAt": now}}
    return state | {"podIP": address, "podIPs": [{"ip": address}]}


@asynccontextmanager
async def metrics_told() -> AsyncIterator[None]:
    """Have pods tell of steady requests while the block runs: of a worse model every tenth is answered by an error."""
    begun = time.monotonic()

    async def page(request: web.Request) -> web.Response:
        tens = int((time.monotonic() - begun) * _REQUESTS_PER_SECOND / 10)
        bad = tens if request.url.host == _WORSE else 0
        return web.Response(text=_PAGE.format(good=tens * 10 - bad, bad=bad))

    pages = web.Application()
    pages.router.add_get("/metrics", page)
    runner = web.AppRunner(pages, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        for address in (_WELL, _WORSE):
            await web.TCPSite(runner, address, _PORT).start()
        yield
    finally:
        await runner.cleanup()
