"""What commands print."""

import io
import sys

import pytest

from masactrl_video.cli.say import say


def test_a_line_reaches_a_log_while_the_command_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written))
    say("http://127.0.0.1:7860")
    assert written.getvalue() == b"http://127.0.0.1:7860\n"
