"""The figures of the long forms, as the table of docs/nothing-lost.md."""

from __future__ import annotations

import datetime
import os
import platform
import time
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "nothing-lost.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
HEAD = ["| what was done | times | outcome |", "| --- | --- | --- |"]
MEASURED = 11
"""Tests that record a figure."""


def summarise(terminalreporter: Any, started_seconds: float) -> list[str]:
    """Lines of the table, from what the tests recorded and how they ended."""
    passed, failed = (terminalreporter.getreports(kind) for kind in ("passed", "failed"))
    failed = failed + terminalreporter.getreports("error")
    rows = [f"| {value} |" for report in passed for key, value in report.user_properties if key == "figure"]
    tables = [report for report in passed + failed if "test_bad_input.py" in report.nodeid and "[" in report.nodeid]
    refused = sum(report in passed for report in tables)
    rows.append(f"| inputs of `docs/bad-input.md` | {len(tables)} | {refused} refused in one line |")
    rows.append(f"| all tests of these | {len(passed) + len(failed)} | {len(failed)} failures |")
    minutes = (time.time() - started_seconds) / 60
    where = f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()}"
    return [*HEAD, *rows, "", f"Measured on {datetime.date.today()} in {minutes:.0f} minutes; {where}."]


def write(lines: list[str]) -> bool:
    """Put the table into the page, if all of it was measured; returns whether it was."""
    if not PAGE.exists() or sum(line.startswith("| ") for line in lines) != MEASURED + 4 or "| 0 | 0" in "".join(lines):
        return False
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text("\n".join([before + BEGIN, *lines, END + rest.partition(END)[2]]), encoding="utf-8")
    return True
