"""What the page refuses: other sites, other files, and what is too large."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from masactrl_video.web.guard import LOOPBACK, Guard

HERE = {"host": "127.0.0.1:7860"}


async def _page(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


def status(root: Path, path: str = "/", method: str = "GET", hosts: Any = LOOPBACK, **headers: str) -> int:
    """What a request is answered with; 200 is the page's own."""
    answers: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        answers.append(message)

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("nothing is read of a request that is refused")

    named = {**HERE, **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = [(name.encode(), value.encode()) for name, value in named.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": raw}
    guard = Guard(_page, roots=[root], most_bytes=1000 << 20, hosts=hosts)
    asyncio.run(guard(scope, receive, send))
    return int(answers[0]["status"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    (root / "job").mkdir(parents=True)
    (root / "job" / "out.mp4").write_bytes(b"video")
    (root / ".server").write_text("lock")
    (root / "job" / ".hidden").write_text("no")
    (tmp_path / "secret").write_text("secret")
    (root / "job" / "link").symlink_to(tmp_path / "secret")
    (root / "way").symlink_to(tmp_path)
    return root


def test_a_file_of_a_job_is_served_and_no_other(root: Path) -> None:
    route = "/gradio_api/file="
    assert status(root, f"{route}{root}/job/out.mp4") == 200
    for bad in (
        *("/etc/passwd", f"{root}/../secret", f"{root}/job/../../secret", f"{root}/job/link", f"{root}/way/secret"),
        *(f"{root}/.server", f"{root}/job/.hidden", f"{root}/job", f"{root}", f"{root}/job/none", "job/out.mp4", ""),
        *("http://example.org/x", "https://127.0.0.1/x", "file:///etc/passwd", f"{root}/job/out.mp4\0"),
    ):
        assert status(root, route + bad) == 403, bad
        assert status(root, route + quote(bad, safe="")) == 403, bad
        assert status(root, "/file=" + bad) == 403, bad
    assert status(root, "/gradio_api/proxy=http://example.org") == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_requests_of_other_sites_change_nothing(root: Path, method: str) -> None:
    for origin in ("http://evil.example", "http://127.0.0.1:9999", "null", "http://127.0.0.1.evil.example:7860"):
        assert status(root, "/gradio_api/upload", method, origin=origin) == 403, origin
    assert status(root, "/gradio_api/upload", method, sec_fetch_site="cross-site") == 403
    assert status(root, "/gradio_api/upload", method, sec_fetch_site="same-site") == 403
    assert status(root, "/gradio_api/upload", method, origin="http://127.0.0.1:7860") == 200
    proxied = {"origin": "https://a.hf.space", "x_forwarded_host": "a.hf.space"}
    assert status(root, "/gradio_api/upload", method, **proxied) == 200
    assert status(root, "/gradio_api/upload", method) == 200  # a program, not a browser


def test_another_name_does_not_lead_here(root: Path) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "", "evil.example:7860"):
        assert status(root, host=host) == 403, host
        assert status(root, host=host, hosts=None) == 200
    assert [status(root, host=host) for host in ("localhost:7860", "LOCALHOST", "[::1]:7860")] == [200, 200, 200]


def test_what_is_too_large_is_refused_before_it_is_read(root: Path) -> None:
    for length in (str(10 << 30), "-1", "x", "1e3"):
        assert status(root, "/gradio_api/upload", "POST", content_length=length) == 413, length
    assert status(root, "/gradio_api/upload", "POST", content_length="1000") == 200
    assert status(root, "/gradio_api/upload", "POST", content_length=str(900 << 20)) == 200
    assert status(root, "/gradio_api/queue/join", "POST", content_length=str(900 << 20)) == 413
