"""`masactrl-video web` from the command line."""

import io
import sys

import pytest

from masactrl_video.cli import web


def test_where_the_page_is_reaches_a_log_while_the_server_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written))
    web._say_where("http://127.0.0.1:7860")
    assert written.getvalue().startswith(b"http://127.0.0.1:7860 (Ctrl-C")
