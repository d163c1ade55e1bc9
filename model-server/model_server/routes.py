"""What the server answers on its two ports.

A handler takes a request and a `reply` to call once, now or later, and returns what can be cancelled meanwhile. All
paths are known beforehand, so routing is one look-up. Loading and serving have routes of their own: no handler asks
whether there is a model yet.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import orjson

from model_server import __version__
from model_server.errors import RequestError, UnauthorizedError
from model_server.exchange import Response, error_response
from model_server.infer import count_answer, internal_error
from model_server.metrics import CONTENT_TYPE, Rejection
from model_server.protocol.encode import encode_metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from model_server.exchange import Handler, Pending, Reply, Request
    from model_server.health import Health
    from model_server.metrics import Metrics
    from model_server.protocol.datatypes import Signature

    Routes = dict[str, dict[str, Handler]]

log = logging.getLogger(__name__)


class Router:
    """Finds the handler of a path and a method; `otherwise` says what is wrong with an unknown path."""

    def __init__(self, routes: Routes, otherwise: Callable[[Request], RequestError]) -> None:
        self._routes = routes
        self._otherwise = otherwise

    def handle(self, request: Request, reply: Reply) -> Pending | None:
        """Answer, whatever happens: nothing is raised from here."""
        try:
            return self._find(request)(request, reply)
        except RequestError as error:
            reply(error_response(error))
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            reply(internal_error())
        return None

    def _find(self, request: Request) -> Handler:
        methods = self._routes.get(request.path)
        if methods is None:
            raise self._otherwise(request)
        handler = methods.get(request.method)
        if handler is None:
            allowed = ", ".join(methods)
            message = f"{request.path} does not take {request.method}, but {allowed}."
            raise RequestError(405, message, ((b"allow", allowed.encode()),))
        return handler


def guarded(handle: Handler, metrics: Metrics, clock: Callable[[], float]) -> Handler:
    """Turn away whoever the transport does not know, whatever they ask, also while there is no model yet."""

    def guard(request: Request, reply: Reply) -> Pending | None:
        if not isinstance(request.problem, UnauthorizedError):
            return handle(request, reply)
        response = error_response(request.problem)
        if request.path.endswith("/infer"):
            metrics.rejected[Rejection.UNAUTHORIZED].add()
            count_answer(metrics, response, clock() - request.arrived)
        elif request.path.endswith("/explain"):
            metrics.explain_requests[response.status].add()
        reply(response)
        return None

    return guard


def loading_routes(name: str, health: Health, metrics: Metrics, clock: Callable[[], float]) -> Router:
    """Answer while there is no model yet: health and the server's own description, 503 for the model."""

    def infer(request: Request, reply: Reply) -> None:
        metrics.rejected[Rejection.LOADING].add()
        response = error_response(_still_loading(name))
        count_answer(metrics, response, clock() - request.arrived)
        reply(response)

    def otherwise(request: Request) -> RequestError:
        return _still_loading(name) if request.path.startswith(_model_path(name)) else _nothing_at(request, name)

    return Router({**_server_routes(health), f"{_model_path(name)}/infer": {"POST": infer}}, otherwise)


def serving_routes(
    *,
    name: str,
    version: str,
    platform: str,
    signature: Signature,
    parameters: Mapping[str, object],
    infer: Handler,
    explain: Handler | None = None,
    health: Health,
) -> Router:
    """Answer for a loaded model, with and without its version in the path."""
    description = Response(
        200,
        encode_metadata(name=name, version=version, platform=platform, signature=signature, parameters=parameters),
    )

    def ready() -> Response:
        return Response(200 if health.ready else 503, orjson.dumps({"name": name, "ready": health.ready}))

    routes = _server_routes(health, explains=explain is not None)
    for path in (_model_path(name), f"{_model_path(name)}/versions/{version}"):
        routes[path] = _get(lambda: description)
        routes[f"{path}/ready"] = _get(ready)
        routes[f"{path}/infer"] = {"POST": infer}
        routes[f"{path}/explain"] = {"POST": explain or _explains_nothing}
    return Router(routes, lambda request: _nothing_at(request, name))


def observing_routes(health: Health, metrics_text: Callable[[], bytes]) -> Router:
    """Answer on the second port: probes and scrapes, never clients."""
    text_headers = ((b"content-type", CONTENT_TYPE),)
    routes = {"/metrics": _get(lambda: Response(200, metrics_text(), text_headers)), **_health_routes(health)}
    known = ", ".join(routes)
    return Router(
        routes, lambda request: RequestError(404, f"There is nothing at {request.path}; this port has {known}.")
    )


def _server_routes(health: Health, *, explains: bool = False) -> Routes:
    extensions = ["binary_tensor_data", *(["explain"] if explains else [])]
    description = {"name": "model-server", "version": __version__, "extensions": extensions}
    return {"/v2": _get(lambda: Response(200, orjson.dumps(description))), **_health_routes(health)}


def _health_routes(health: Health) -> Routes:
    def live() -> Response:
        return Response(200 if health.live else 503, orjson.dumps({"live": health.live}))

    def ready() -> Response:
        # "live" is the key in the specification's text, "ready" that of every server
        told = {"live": health.live, "ready": health.ready, "phase": health.shown}
        return Response(200 if health.ready else 503, orjson.dumps(told))

    return {"/v2/health/live": _get(live), "/v2/health/ready": _get(ready)}


def _get(answer: Callable[[], Response]) -> dict[str, Handler]:
    def handler(_request: Request, reply: Reply) -> None:
        reply(answer())

    return {"GET": handler, "HEAD": handler}  # the transport leaves out the body of an answer to HEAD


def _explains_nothing(_request: Request, _reply: Reply) -> None:
    message = "This server does not explain its answers; spec.explain.methods (serve --explain) makes it."
    raise RequestError(404, message)


def _model_path(name: str) -> str:
    return f"/v2/models/{name}"


def _still_loading(name: str) -> RequestError:
    return RequestError(503, f"The model {name!r} is still loading. Try again in a second.", ((b"retry-after", b"1"),))


def _nothing_at(request: Request, name: str) -> RequestError:
    return RequestError(
        404, f"There is nothing at {request.path}; this server has the model {name!r} at {_model_path(name)}."
    )
