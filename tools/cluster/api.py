"""The few questions that the tool asks an API server while it waits for it."""

import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

from cluster.access import Access
from cluster.errors import ClusterError


class Api:
    """One API server. Reading never fails: who gets `None` waits and asks again."""

    def __init__(self, access: Access) -> None:
        self.url = access.url
        self._access = access
        self._tls = ssl.create_default_context(cadata=access.authority)

    def is_ready(self) -> bool:
        """Tell whether the server calls itself ready."""
        return self._get("/readyz") is not None

    def get(self, path: str) -> dict[str, Any] | None:
        """Read one object or list."""
        body = self._get(path)
        return json.loads(body) if body else None

    def create(self, path: str, content: dict[str, Any]) -> None:
        """Create one object; one that is there already will do."""
        status, body = self._ask("POST", path, json.dumps(content))
        if status not in (http.client.CREATED, http.client.CONFLICT):
            raise ClusterError(f"Creating an object at {self.url}{path} failed: {status} {body.decode()}")

    def _get(self, path: str) -> bytes | None:
        try:
            status, body = self._ask("GET", path)
        except (OSError, http.client.HTTPException):
            return None
        return body if status == http.client.OK else None

    def _ask(self, verb: str, path: str, content: str | None = None) -> tuple[int, bytes]:
        address = urlsplit(self.url)
        connection = http.client.HTTPSConnection(address.hostname or "", address.port, timeout=5, context=self._tls)
        headers = {"Authorization": f"Bearer {self._access.token}", "Content-Type": "application/json"}
        try:
            connection.request(verb, path, body=content, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()
