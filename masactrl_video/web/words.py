"""The command line that does the same as a job."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from masactrl_video.settings.presets import DEFAULT_PRESET
from masactrl_video.web.job import Job

_AFTER_COMMAND = ("clip", "source_image")
"""Settings that `render` and `edit` take without a flag."""
_OWN_FLAGS = {
    "prompts": "--prompt",
    "seeds": "--seed",
    "sources": "--source-at",
    "name": "",
    "story": "",
}


def words_of(job: Job, folder: Path) -> list[str]:
    """Words after `masactrl-video`."""
    said = {name: value for name, value in {**job.more, **job.changes}.items() if value is not None}
    words = job.command.split()
    for name in ("name", "story", *_AFTER_COMMAND):
        if name in said and (name != "source_image" or job.command == "edit"):
            value = str(said.pop(name))
            if name != "clip" or job.command != "source make":  # which reads none
                words.append(value)
    if job.command != "source make":
        words += ["-o", str(job.output(folder))]
    if job.preset != DEFAULT_PRESET:
        words += ["--preset", job.preset]
    for name, value in said.items():
        words += _said(_OWN_FLAGS.get(name, "--" + name.replace("_", "-")), value)
    return words


def line_of(job: Job, folder: Path) -> str:
    """The whole line, as a shell reads it."""
    return shlex.join(["masactrl-video", *words_of(job, folder)])


def _said(flag: str, value: Any) -> Iterator[str]:
    """A flag with its value. What begins with a dash would be taken for a flag, unless it is joined by `=`."""
    if isinstance(value, bool):
        yield flag if value else f"--no-{flag[2:]}"
    elif isinstance(value, Mapping):
        for key, one in value.items():
            for each in one if isinstance(one, list) else [one]:
                yield from (flag, f"{key}={each}")
    elif isinstance(value, list):
        yield flag
        yield from map(str, value)
    elif str(value).startswith("-"):
        yield f"{flag}={value}"
    else:
        yield flag
        yield str(value)
