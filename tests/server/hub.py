"""A stand-in for the Hugging Face Hub: it answers the two calls of a download as the Hub does, and none else.

The Hub itself is not asked by any test. What is imitated: `GET /api/models/REPO/revision/REVISION?blobs=true`, and
`GET /REPO/resolve/COMMIT/FILE`, which redirects to another host for large files; error codes in `X-Error-Code`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from server.site import gives

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler

    from server.site import Site

COMMIT = "1234567890abcdef1234567890abcdef12345678"
TOKEN = "hf_s3cr3t"  # noqa: S105  # of the stand-in


@dataclass
class Hub:
    """One repository with one commit, of which `large` files are elsewhere."""

    front: Site
    elsewhere: Site
    name: str
    large: dict[str, bytes]
    small: dict[str, bytes]
    is_private: bool = False
    tokens_elsewhere: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Have the site answer."""
        siblings = [_described(name, content, is_large=name in self.large) for name, content in self._files.items()]
        listing = json.dumps({"id": self.name, "sha": COMMIT, "siblings": siblings}).encode()
        for revision in ("main", COMMIT, "refs%2Fpr%2F1"):
            self._page(f"/api/models/{self.name}/revision/{revision}", gives(listing))
        self._page(f"/api/models/{self.name}/revision/none", gives(b"", 404, **{"X-Error-Code": "RevisionNotFound"}))
        self.front.pages["/api/models/org/none/revision/main"] = gives(b"", 401, **{"X-Error-Code": "RepoNotFound"})
        gated = gives(b"", 403, **{"X-Error-Code": "GatedRepo"})
        self.front.pages["/api/models/org/gated/revision/main"] = gated
        for name, content in self._files.items():
            page = self._elsewhere(name, content) if name in self.large else _ranges(content)
            self._page(f"/{self.name}/resolve/{COMMIT}/{name}", page)

    @property
    def _files(self) -> dict[str, bytes]:
        return self.large | self.small

    def _page(self, path: str, page: object) -> None:
        def guarded(handler: BaseHTTPRequestHandler) -> None:
            shown = handler.headers.get("Authorization")
            if shown not in (None, f"Bearer {TOKEN}") or (self.is_private and shown is None):
                gives(b"", 401, **{"X-Error-Code": "RepoNotFound"} if shown is None else {})(handler)
            else:
                page(handler)  # type: ignore[operator]

        self.front.pages[path] = guarded

    def _elsewhere(self, name: str, content: bytes) -> object:
        def page(handler: BaseHTTPRequestHandler) -> None:
            self.tokens_elsewhere.extend(handler.headers.get_all("Authorization", []))
            _ranges(content)(handler)

        self.elsewhere.pages[f"/{name}"] = page
        return gives(b"", 302, Location=self.elsewhere.url(f"/{name}?signature=1"))


def _described(name: str, content: bytes, *, is_large: bool) -> dict[str, object]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    large = {"lfs": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}}
    return {"rfilename": name, "size": len(content), "blobId": blob, **(large if is_large else {})}


def _ranges(content: bytes):  # noqa: ANN202
    def page(handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range", "").removeprefix("bytes=")
        if not wanted:
            gives(content)(handler)
            return
        first, last = map(int, wanted.split("-"))
        place = f"bytes {first}-{last}/{len(content)}"
        gives(content[first : last + 1], 206, **{"Content-Range": place})(handler)

    return page
