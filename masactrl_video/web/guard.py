"""What is refused before the page sees it: other sites, paths outside our folders, and what is too large."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")

_FILE_ROUTE = "/gradio_api/file="
_NOT_SERVED = ("/gradio_api/proxy=", "/proxy=", "/gradio_api/run_history", "/gradio_api/vibe")
_UPLOAD_ROUTE = "/gradio_api/upload"
_FORM_BYTES, _BODY_BYTES = 1 << 20, 32 << 20
"""What a request that uploads a file may hold besides, and what any other may hold."""


class Guard:
    """An ASGI application around the page."""

    def __init__(self, app: App, *, roots: Collection[Path], most_bytes: int, hosts: Collection[str] | None) -> None:
        """Args:

        roots: folders whose files are served.
        most_bytes: of one upload.
        hosts: names by which the page may be asked for; None for any. Another site cannot have its own name lead to
            this machine then.
        """
        self.app = app
        self._roots = [root.resolve() for root in roots]
        self._most_bytes = most_bytes
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a refusal."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await _answer(send, *refusal)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if self._hosts is not None and _name_of(host) not in self._hosts:
            return 403, f"this page is not served under the name {host[:100]!r}"
        if scope.get("method") not in ("GET", "HEAD", "OPTIONS") and not _is_own(headers, host):
            return 403, "requests from other sites are not taken"
        path, length = unquote(scope.get("path", "")), headers.get("content-length", "0")
        most_bytes = self._most_bytes + _FORM_BYTES if path.endswith(_UPLOAD_ROUTE) else _BODY_BYTES
        if not (length.isascii() and length.isdigit()) or int(length) > most_bytes:
            said = f"more than {most_bytes >> 20} MiB are not taken"
            return 413, f"{said}; cut the clip, or start the page with a higher --max-upload"
        return self._refused_path(path)

    def _refused_path(self, path: str) -> tuple[int, str] | None:
        if any(path.startswith(route) or route in path for route in _NOT_SERVED):
            return 404, "there is no such page"
        for route in (_FILE_ROUTE, "/file="):
            if route in path:
                return None if self._is_served(path.partition(route)[2]) else (403, "this file is not served")
        return None

    def _is_served(self, name: str) -> bool:
        """Whether a path leads, with all links followed, to a file in a root, and no hidden one."""
        try:
            written = Path(name)
            if not written.is_absolute() or ".." in written.parts or "\0" in name:
                return False
            found = written.resolve(strict=True)
            for root in self._roots:
                if root in found.parents:
                    inside = found.relative_to(root).parts
                    return found.is_file() and not any(part.startswith(".") for part in inside)
        except (OSError, RuntimeError, ValueError):
            pass
        return False


def _is_own(headers: MutableMapping[str, str], host: str) -> bool:
    """Whether a request that changes something comes from the page itself, or from no browser."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    names = {host.lower(), headers.get("x-forwarded-host", host).lower()}  # no page can have a browser say the second
    return origin is None or urlsplit(origin).netloc.lower() in names


def _name_of(host: str) -> str:
    """The host without its port."""
    return host.rpartition("]")[0].strip("[") if host.startswith("[") else host.partition(":")[0].lower()


async def _answer(send: Send, status: int, text: str) -> None:
    body = json.dumps({"error": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})


def quiet_environment(uploads: Path) -> None:
    """Have Gradio, and what it brings, send nothing anywhere, and keep what is sent to it in our folder."""
    os.environ.update(
        GRADIO_ANALYTICS_ENABLED="False",
        GRADIO_TEMP_DIR=str(uploads),
        GRADIO_RUN_HISTORY="False",
        HF_HUB_DISABLE_TELEMETRY="1",
        DO_NOT_TRACK="1",
    )
