"""The few questions that the tool asks an API server while it waits for it."""

import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

from cluster.access import Access


class Api:
    """A reader of one API server; every failure to get an answer is `None`, because its callers wait and ask again."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._tls = ssl.create_default_context(cadata=access.authority)

    def is_ready(self) -> bool:
        """Tell whether the server calls itself ready."""
        return self._get("/readyz") is not None

    def get(self, path: str) -> dict[str, Any] | None:
        """Read one object or list."""
        body = self._get(path)
        return json.loads(body) if body else None

    def _get(self, path: str) -> bytes | None:
        address = urlsplit(self._access.url)
        connection = http.client.HTTPSConnection(address.hostname or "", address.port, timeout=5, context=self._tls)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self._access.token}"})
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return body if answer.status == http.client.OK else None
