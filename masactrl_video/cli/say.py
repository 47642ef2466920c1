"""Text for a terminal: names of files may hold anything, also what would move its cursor or change its title."""

from __future__ import annotations

import argparse
import io
import json
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

from masactrl_video.errors import printable


def replace_unknown_letters() -> None:
    """Have stdout show letters that its encoding does not know as "?"; stderr does something of the kind by itself."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def say(text: object) -> None:
    """Print lines of a command's answer, at once; into a file or another program they go as they are."""
    lines = str(text)
    if sys.stdout.isatty():
        lines = "\n".join(printable(line) for line in lines.split("\n"))
    sys.stdout.write(lines.encode("utf-8", "replace").decode("utf-8") + "\n")
    sys.stdout.flush()  # the page's server goes on after its address: who reads that from a pipe would wait for its end


def say_json(data: Mapping[str, object]) -> None:
    """Print one line with a JSON object, at once."""
    print(json.dumps(data), flush=True)  # ASCII only: nothing in it can move a cursor


def add_json(parser: argparse.ArgumentParser) -> None:
    """The flag that makes a command talk to programs."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="progress and result for other programs: one JSON object a line on stdout",
    )


def teller(arguments: argparse.Namespace) -> Callable[[dict[str, Any]], None]:
    """What takes progress: prints it with `--json`, else nothing."""
    return say_json if arguments.json else lambda event: None


class PrintableFormatter(logging.Formatter):
    """Log lines for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The message as one printable line."""
        return printable(super().format(record))
