"""A job: a command with its settings, as plain data in a file, so that a server that is killed finds it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from masactrl_video.errors import UserError
from masactrl_video.settings.fields import STILLS, VIDEOS, Command
from masactrl_video.settings.presets import DEFAULT_PRESET, read_preset, resolve
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.stills import StillSettings, resolve_stills
from masactrl_video.storage.replace import replacing
from masactrl_video.web.places import JOB_FILE

State = Literal["waiting", "running", "done", "stopped", "failed"]

MADE_HERE = (*sorted(VIDEOS), "source record", "source make", *sorted(STILLS), "comic")
"""Commands that a page gives jobs for."""

_OUTPUTS = {**dict.fromkeys(VIDEOS, "out.mp4"), "source record": "out.png", "comic": "out.png"}


@dataclass(frozen=True)
class Job:
    """What was asked for, and how far it is."""

    name: str
    """Of its folder."""
    command: Command
    preset: str = DEFAULT_PRESET
    changes: dict[str, Any] = field(default_factory=dict)
    """Settings that were said, as text and numbers; those that are paths are absolute."""
    more: dict[str, Any] = field(default_factory=dict)
    """What the command takes besides settings: a character's name, a story's file."""
    state: State = "waiting"
    message: str = ""
    """Why it has failed."""

    def output(self, folder: Path) -> Path:
        """The file or folder that it makes, in its own folder."""
        return folder / _OUTPUTS.get(self.command, "out")

    def becomes(self, state: State, message: str = "") -> Job:
        """The same in another state."""
        return replace(self, state=state, message=message)

    def settings(self) -> Settings:
        """The resolved settings of a command that has some.

        Raises:
            UserError: values that cannot be used.
        """
        base = read_preset(self.preset)
        return resolve_stills(base, self.changes) if self.command in STILLS else resolve(base, self.changes)

    def write(self, folder: Path) -> None:
        """Write it into its folder, whole or not at all."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        with replacing(folder / JOB_FILE) as partial:
            partial.write_text(text, encoding="utf-8")


def read_job(folder: Path) -> Job:
    """The job of a folder.

    Raises:
        UserError: its file cannot be read, or is not one of ours.
    """
    path = folder / JOB_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        job = Job(**{**data, "name": folder.name})
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read as a job ({error}); remove the folder, or mend the file") from error
    right = (
        job.command in MADE_HERE
        and job.state in get_args(State)
        and isinstance(job.changes, Mapping)
        and isinstance(job.more, Mapping)
        and isinstance(job.preset, str)
    )
    if not right:
        raise UserError(f"{path} is not a job of this version; remove the folder, or mend the file")
    return job


def record_of(command: str) -> type[Settings]:
    """Whose settings a command has."""
    return StillSettings if cast(Command, command) in STILLS else Settings
