"""Markdown tables of results, with what is needed to judge them."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import diffusers
import torch


def write_table(
    path: Path,
    title: str,
    rows: Sequence[Mapping[str, str]],
    further: Mapping[str, Sequence[Mapping[str, str]]] | None = None,
) -> None:
    """Print a table and write it to `path`, with the command, the machine and the versions that made it.

    Args:
        further: heading → rows of another table behind it.
    """
    lines = [
        f"# {title}",
        "",
        f"Made by `python {shlex.join(sys.argv)}` on {os.cpu_count()} cores ({platform.machine()}, "
        f"threads: {torch.get_num_threads()}), torch {torch.__version__}, diffusers {diffusers.__version__}.",
        "What the columns mean: [README](README.md).",
        "",
        *_table(rows),
    ]
    for heading, others in (further or {}).items():
        lines += ["", f"## {heading}", "", *_table(others)]
    text = "\n".join(lines) + "\n"
    print(text)
    path.write_text(text, encoding="utf-8")


def _table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    columns = list(rows[0])
    return [
        f"| {' | '.join(columns)} |",
        f"| {' | '.join('---' for _ in columns)} |",
        *(f"| {' | '.join(row[column] for column in columns)} |" for row in rows),
    ]
