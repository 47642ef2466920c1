"""The server of the page."""

from __future__ import annotations

import importlib.util
import logging
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masactrl_video.errors import UserError
from masactrl_video.web.guard import LOOPBACK, Guard, quiet_environment
from masactrl_video.web.places import Places

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerOptions:
    """How the page is served."""

    folder: Path
    """For jobs and all that they make."""
    host: str = LOOPBACK[0]
    port: int | None = None
    """None: the first that is free from 7860 on."""
    auth: tuple[str, str] | None = None
    """A name and a password that are asked for."""
    share: bool = False
    """Whether Gradio's servers lead others here."""
    max_upload_bytes: int = 2 << 30
    opens_browser: bool = False

    @property
    def is_for_others(self) -> bool:
        """Whether others than the user of this machine can reach the page."""
        return self.share or self.host not in LOOPBACK


def serve(options: ServerOptions, said: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C, or a signal to end.

    Args:
        said: told where the page is, once it is there.

    Raises:
        UserError: gradio is not installed, the folder cannot be used, or the port is taken.
    """
    if importlib.util.find_spec("gradio") is None:
        raise UserError("web: the page needs Gradio, which is not installed; pip install 'masactrl-video[web]'")
    places = Places.at(options.folder)
    quiet_environment(places.uploads)  # before Gradio is imported, which reads it
    from masactrl_video.web import making
    from masactrl_video.web.page import page, style, theme
    from masactrl_video.web.queue import Queue

    queue = Queue(places, for_others=options.is_for_others)
    ended = threading.Event()
    try:
        blocks = page(queue)
        where = _launched(blocks, options, places, theme=theme(), css=style())
        queue.start(making.load_ahead)
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        said(where)
        while not ended.wait(0.5):  # a wait without an end would not see Ctrl-C on every system
            pass
    finally:
        queue.close()


def _launched(blocks: Any, options: ServerOptions, places: Places, **looks: Any) -> str:
    """Start the server in threads of its own; returns the page's address."""
    from starlette.middleware import Middleware

    guard = Middleware(
        Guard,
        roots=[places.root],
        most_bytes=options.max_upload_bytes,
        hosts=None if options.is_for_others else LOOPBACK,
    )
    try:
        _, local, shared = blocks.launch(
            server_name=options.host,
            server_port=options.port,
            auth=options.auth,
            share=options.share,
            inbrowser=options.opens_browser,
            max_file_size=options.max_upload_bytes,
            allowed_paths=[str(places.root)],
            blocked_paths=[str(places.root / ".server")],
            app_kwargs={"middleware": [guard]},
            prevent_thread_lock=True,
            quiet=True,
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            enable_monitoring=False,
            mcp_server=False,
            pwa=False,
            **looks,
        )
    except OSError as error:
        raise UserError(f"--port: {error}; give another port, or none to take the first that is free") from error
    return str(shared or local)
