"""The narrow port to the API server: a few verbs over one HTTP session, bodies as plain dicts."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple, Self
from urllib.parse import urlencode

import aiohttp
import orjson
from prometheus_client import Counter
from yarl import URL

from modelservice_operator.kube.credentials import Credentials
from modelservice_operator.kube.errors import KubeError, NotFound, Throttled, Unavailable, error_from_status
from modelservice_operator.kube.resources import PODS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from modelservice_operator.kube.resources import Body, Resource

FIELD_MANAGER: Final = "modelservice-operator"

_APPLY: Final = "application/apply-patch+yaml"  # JSON is YAML; the server takes no other type for an apply (1.35)
_MERGE: Final = "application/merge-patch+json"
_JSON: Final = "application/json"
_METADATA: Final = "application/json;as=PartialObjectMetadata{list};g=meta.k8s.io;v=v1"

_REQUESTS_AT_ONCE: Final = 16  # more only queue in the server, which gives one account few seats (measured)
_REQUEST: Final = aiohttp.ClientTimeout(total=30, sock_connect=10)
_THROTTLED_TRIES: Final = 4
_LONGEST_RETRY_AFTER: Final = 30.0
_LOG_LINES: Final = 50
_LOG_BYTES: Final = 256 * 1024

# The server ends each watch after a time of our choice. Until then it sends a bookmark about once a minute, but only
# of a kind that has changed since the server started (1.35): a silent stream is either of a quiet kind or dead, and a
# new one tells which.
_WATCH_SECONDS: Final = (240, 480)
_WATCH: Final = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=90)

REQUESTS: Final = Counter(
    "modelservice_operator_api_requests",
    "Requests to the Kubernetes API; code is the HTTP status, or Error where there was no answer.",
    ["verb", "resource", "code"],
)


class Event(NamedTuple):
    """What a watch tells: `ADDED`, `MODIFIED` or `DELETED`, and the object; or `BOOKMARK`, and a version."""

    kind: str
    body: Body


class Listing(NamedTuple):
    """Objects of a kind, and the moment at which they were so."""

    items: list[Body]
    resource_version: str


class Cluster:
    """The API server, as far as the operator needs it. Its methods raise `KubeError` and nothing else."""

    may_write: Callable[[], bool] | None = None
    """Asked before each request that may change something; the request is not sent when the answer is no."""

    def __init__(self, credentials: Credentials, reload: Callable[[], Credentials] = Credentials.load) -> None:
        """Take credentials, and where to get new ones when the server refuses these. Needs a running event loop."""
        self._credentials = credentials
        self._reload = reload
        self._tls = credentials.tls()
        self._renewing = asyncio.Lock()
        self._slots = asyncio.Semaphore(_REQUESTS_AT_ONCE)
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # the slots limit requests; watches come on top
            # Compression costs both sides more time than it saves inside one cluster.
            headers={"Accept": _JSON, "Accept-Encoding": "identity", "User-Agent": FIELD_MANAGER},
        )

    @classmethod
    async def connect(cls) -> Self:
        """Open a session with the credentials of the environment (raises `NoCredentialsError`)."""
        return cls(await asyncio.to_thread(Credentials.load))

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    async def verbs(self, resource: Resource) -> frozenset[str]:
        """Tell what the server has of verbs for this kind (now: CRDs come and go); none where it does not serve it."""
        try:
            found = await self._request("discover", resource, "GET", resource.group_path)
        except NotFound:
            return frozenset()
        kinds = {kind["name"]: kind["verbs"] for kind in found.get("resources") or ()}
        return frozenset(kinds.get(resource.plural, ()))

    async def get(self, resource: Resource, namespace: str, name: str) -> Body:
        """Read one object."""
        return await self._request("get", resource, "GET", resource.path(namespace, name))

    async def log(self, namespace: str, pod: str, container: str, *, previous: bool) -> bytes:
        """Read the last lines that a container has written, or that it had before it was started again.

        The server counts bytes from the first of these lines, so that a limit of few would miss the end.
        """
        which = {"container": container, "previous": str(previous).lower()}
        params = which | {"tailLines": str(_LOG_LINES), "limitBytes": str(_LOG_BYTES)}
        return await self._answer("get", PODS, "GET", PODS.path(namespace, pod, "log"), params=params)

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        selector: str = "",
        fields: str = "",
        limit: int = 500,
    ) -> Listing:
        """Read all objects at once, which takes ten times the memory of their JSON."""
        found = self.pages(resource, namespace=namespace, selector=selector, fields=fields, limit=limit)
        pages = [page async for page in found]
        return Listing([item for page in pages for item in page.items], pages[-1].resource_version)

    async def pages(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        selector: str = "",
        fields: str = "",
        limit: int = 500,
    ) -> AsyncIterator[Listing]:
        """Read all objects page by page, all as they were at one moment.

        Raises `Gone` when the server no longer knows that moment: begin again.
        """
        params = {"limit": str(limit)}
        if selector:
            params["labelSelector"] = selector
        if fields:
            params["fieldSelector"] = fields
        # A list says these once for all its items; every reader of an object looks for them in the object.
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        while True:
            page = await self._request("list", resource, "GET", resource.path(namespace), params=params)
            yield Listing([kind | item for item in page.get("items") or ()], page["metadata"]["resourceVersion"])
            if not (token := page["metadata"].get("continue")):
                return
            params["continue"] = token

    @asynccontextmanager
    async def watch(
        self, resource: Resource, *, resource_version: str, namespace: str | None = None, selector: str = ""
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """Open a stream of what happens after a moment. It ends when the server ends it, or when it has gone silent.

        Raises `Gone`, at once or from the stream, when the server no longer knows that moment: list again.
        """
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(random.randint(*_WATCH_SECONDS)),  # noqa: S311 (spreads the reconnects)
        }
        if selector:
            params["labelSelector"] = selector
        async with self._exchange(
            "watch", resource, "GET", resource.path(namespace), params=params, limits=_WATCH
        ) as response:
            try:
                yield _events(response)
            finally:
                # Who leaves a stream wants no more of it; a TLS connection would wait for the server's goodbye.
                if response.connection is not None and response.connection.transport is not None:
                    response.connection.transport.abort()

    async def apply(self, resource: Resource, manifest: Body, *, force: bool, dry_run: bool = False) -> Body:
        """Apply a manifest on the server's side and return the object that results.

        A `metadata.resourceVersion` or `metadata.uid` in the manifest is a precondition: `Conflict` when it fails.
        """
        metadata = manifest["metadata"]
        params = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false"}
        if dry_run:
            params["dryRun"] = "All"
        path = resource.path(metadata["namespace"], metadata["name"])
        return await self._request("apply", resource, "PATCH", path, params=params, body=manifest, content_type=_APPLY)

    async def create(self, resource: Resource, body: Body) -> Body:
        """Create an object that must not exist yet (`AlreadyExists`), and return it."""
        path = resource.path(body["metadata"].get("namespace"))
        return await self._request("create", resource, "POST", path, body=body)

    async def replace(self, resource: Resource, body: Body) -> Body:
        """Replace an object that must still have the resourceVersion of `body` (`Conflict`), and return it."""
        metadata = body["metadata"]
        path = resource.path(metadata["namespace"], metadata["name"])
        return await self._request("replace", resource, "PUT", path, body=body)

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        """Delete exactly the object with this UID; one that is gone already is fine."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        try:
            await self._request("delete", resource, "DELETE", resource.path(namespace, name), body=options)
        except NotFound:
            return

    async def merge(self, resource: Resource, namespace: str, name: str, patch: Body) -> Body:
        """Merge a patch into an object, and return it."""
        return await self._merge(resource, namespace, name, None, patch)

    async def patch_status(self, resource: Resource, namespace: str, name: str, patch: Body) -> Body:
        """Merge a patch (`{"status": ...}`) into the status; a `metadata.resourceVersion` in it is a precondition."""
        return await self._merge(resource, namespace, name, "status", patch)

    async def patch_scale(self, resource: Resource, namespace: str, name: str, patch: Body) -> Body:
        """Merge a patch into the Scale object and return it; a `metadata.resourceVersion` in it is a precondition."""
        return await self._merge(resource, namespace, name, "scale", patch)

    async def _merge(self, resource: Resource, namespace: str, name: str, subresource: str | None, patch: Body) -> Body:
        path = resource.path(namespace, name, subresource)
        params = {"fieldManager": FIELD_MANAGER}
        verb = f"patch_{subresource}" if subresource else "patch"
        return await self._request(verb, resource, "PATCH", path, params=params, body=patch, content_type=_MERGE)

    async def _request(
        self,
        verb: str,
        resource: Resource,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Body | None = None,
        content_type: str = _JSON,
    ) -> Body:
        """Send one request, and read the answer."""
        answer = await self._answer(verb, resource, method, path, params=params, body=body, content_type=content_type)
        try:
            found: Body = orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            raise Unavailable(f"The API server did not answer: {method} {path}: {error}") from error
        return found

    async def _answer(
        self,
        verb: str,
        resource: Resource,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Body | None = None,
        content_type: str = _JSON,
    ) -> bytes:
        """Send one request, again where the server asks to come back later."""
        data = None if body is None else orjson.dumps(body)
        async with self._slots:  # kept while throttled: that is the back pressure
            tries = 1
            while True:
                if method != "GET" and self.may_write is not None and not self.may_write():
                    raise Unavailable(f"Not sent, because another operator may lead by now: {method} {path}")
                try:
                    async with self._exchange(
                        verb, resource, method, path, params=params, data=data, content_type=content_type
                    ) as response:
                        return await response.read()
                except Throttled as error:
                    if tries == _THROTTLED_TRIES:
                        raise
                    await asyncio.sleep(min(error.retry_after or 1.0, _LONGEST_RETRY_AFTER))
                    tries += 1

    @asynccontextmanager
    async def _exchange(
        self,
        verb: str,
        resource: Resource,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        data: bytes | None = None,
        content_type: str = _JSON,
        limits: aiohttp.ClientTimeout = _REQUEST,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open a response with a good status; everything else becomes a `KubeError`, also while the body is read."""
        answered = "Error"
        try:
            for fresh in (False, True):
                credentials = self._credentials
                headers = {"Content-Type": content_type}
                if resource.metadata_only and verb != "discover":  # which has no metadata: 406
                    headers["Accept"] = _METADATA.format(list="" if verb == "watch" else "List")
                if authorization := credentials.authorization():
                    headers["Authorization"] = authorization
                # Encoded here: what aiohttp does with a plain address costs it a fifth of a request (measured).
                query = f"?{urlencode(params)}" if params else ""
                async with self._http.request(
                    method,
                    URL(f"{credentials.server}{path}{query}", encoded=True),
                    data=data,
                    headers=headers,
                    timeout=limits,
                    ssl=self._tls,
                    server_hostname=credentials.server_name,
                    proxy=credentials.proxy,
                ) as response:
                    answered = str(response.status)
                    if response.status == HTTPStatus.UNAUTHORIZED and not fresh:
                        await self._renew(credentials)
                        continue
                    if response.status >= HTTPStatus.BAD_REQUEST:
                        raise await _error_of(response)
                    yield response
                    return
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError) as error:
            # TimeoutError and some of aiohttp's errors have no words of their own.
            words = f"{method} {path}: {type(error).__name__}{f': {error}' if str(error) else ''}"
            raise Unavailable(f"The API server did not answer: {words}") from error
        finally:
            REQUESTS.labels(verb, resource.plural, answered).inc()

    async def _renew(self, refused: Credentials) -> None:
        """Load the credentials anew, once for all the requests that found the same ones refused."""
        async with self._renewing:
            if self._credentials is refused:
                self._credentials = await asyncio.to_thread(self._reload)
                self._tls = self._credentials.tls()


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    """Read a watch line by line. Not by aiohttp's own lines: they have a limit that an object may exceed."""
    rest = b""
    with suppress(aiohttp.SocketTimeoutError):
        async for chunk in response.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    raise error_from_status(int(event["object"].get("code") or 500), event["object"])
                yield Event(event["type"], event["object"])


async def _error_of(response: aiohttp.ClientResponse) -> KubeError:
    """Read a bad answer: a `Status` from the server itself, anything at all from a proxy before it."""
    text = await response.read()
    try:
        status = orjson.loads(text)
    except orjson.JSONDecodeError:
        status = None
    if not isinstance(status, dict):
        status = {"message": f"HTTP {response.status}: {text[:200].decode(errors='replace').strip()}"}
    retry_after = response.headers.get("Retry-After", "")
    return error_from_status(response.status, status, retry_after=float(retry_after) if retry_after.isdigit() else None)
