"""The kopf edge: the watch of ModelServices. The only module that imports kopf.

Kopf logs in, discovers, watches, reconnects, and follows the CRD when it comes and goes. It writes nothing: there are
only event handlers, so no finalizers, annotations or Events. It lives in a thread with a loop of its own, because it
takes over the signals of the main thread and, on its way out, cancels every task of its loop that is younger than it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import logging
import threading
from typing import TYPE_CHECKING, Any, Final

import kopf

from modelservice_operator.kube.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from modelservice_operator.engine.operator import Deliver
    from modelservice_operator.kube.resources import Resource

_END_SECONDS: Final = 10.0


class Watch:
    """The watch of one kind."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    async def __call__(self, deliver: Deliver, namespaces: Collection[str]) -> None:
        """Watch some namespaces, or (none given) all, until cancelled; end only with what kopf dies of."""
        ours = asyncio.get_running_loop()
        theirs = asyncio.new_event_loop()
        stop = asyncio.Event()
        ended: concurrent.futures.Future[None] = concurrent.futures.Future()

        async def hand_over(event: kopf.RawEvent, **_: Any) -> None:  # noqa: ANN401 (kopf passes what it knows)
            # The object itself: kopf's `body` is a view that would keep kopf's own memory of it alive.
            ours.call_soon_threadsafe(deliver, event["type"], dict(event["object"]))

        def live() -> None:
            try:
                with asyncio.Runner(loop_factory=lambda: theirs) as runner:
                    runner.run(self._kopf(hand_over, namespaces, stop))
            except BaseException as error:  # noqa: BLE001 (whatever it is, the other thread shall know)
                ended.set_exception(error)
            else:
                ended.set_result(None)

        # A daemon, so that a kopf that does not end cannot keep the process alive.
        threading.Thread(target=live, name="kopf", daemon=True).start()
        end = asyncio.wrap_future(ended)
        try:
            await asyncio.shield(end)
        finally:
            if not end.done():
                theirs.call_soon_threadsafe(stop.set)
                await asyncio.wait({end}, timeout=_END_SECONDS)

    async def _kopf(self, handler: Callable[..., Any], namespaces: Collection[str], stop: asyncio.Event) -> None:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(_login)
        kopf.on.event(self._resource.group, self._resource.version, self._resource.plural, registry=registry)(handler)
        await kopf.operator(
            registry=registry,
            settings=_settings(scans=not namespaces),
            clusterwide=not namespaces,
            namespaces=namespaces,
            stop_flag=stop,
        )


class _NoDiffBase(kopf.DiffBaseStorage):
    """Nobody asks for differences here, and computing them is a third of kopf's time per event."""

    def build(self, **_: Any) -> kopf.BodyEssence:  # noqa: ANN401 (of kopf's arguments none is used)
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> None:  # noqa: ANN401
        return None

    def store(self, **_: Any) -> None:  # noqa: ANN401
        return None


class _Patiently:
    """Waits between kopf's tries, without an end: by default it gives up after a minute, which outages outlast."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0), itertools.repeat(20.0))


def _settings(*, scans: bool) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # Who looks after some namespaces need not have the right to list all, for which kopf would ask for ever. Then it
    # does not follow the definition either: it dies when that goes, and the next process waits until it comes.
    settings.scanning.disabled = not scans
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = _Patiently()
    # Kopf makes events of a whole page before it handles one: by 500 it needs 15 MB more for 5,000 services (measured).
    settings.watching.chunk_size = 100
    # For so long after an event it keeps the object: by 5 s all objects of a first list, 50 MB for 5,000 (measured).
    settings.queueing.idle_timeout = 0.1
    # Not `initial_streaming`: a server that cannot do it ends kopf, and a stream that breaks early loses objects.
    return settings


async def _login(**_: Any) -> kopf.ConnectionInfo:  # noqa: ANN401 (of kopf's arguments none is used)
    """Give kopf the credentials that everything else uses; it asks again when the server refuses them."""
    credentials = await asyncio.to_thread(Credentials.load)
    configuration = credentials.configuration
    scheme, _space, token = (credentials.authorization() or "").partition(" ")
    return kopf.ConnectionInfo(
        server=credentials.server,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        scheme=scheme.capitalize() or None,
        token=token.strip() or None,
        proxy_url=credentials.proxy,
    )


logging.getLogger("kopf").setLevel(logging.WARNING)  # else a line per event
logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)  # else a warning about the thread it is in
