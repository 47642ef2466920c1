"""What must be known of a setting: all of it, of every setting, in one place."""

from __future__ import annotations

import argparse
import re
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, Field

from masactrl_video.cli.main import COMMANDS
from masactrl_video.cli.options import Parser
from masactrl_video.errors import UserError
from masactrl_video.jobs.grid import sweepable
from masactrl_video.jobs.run.folder import changed_settings
from masactrl_video.jobs.run.inputs import check_inputs
from masactrl_video.settings.fields import (
    VIDEOS,
    Changes,
    Command,
    Group,
    option,
    option_of,
    settings_for,
    settings_where,
)
from masactrl_video.settings.presets import read_preset
from masactrl_video.settings.schema import record_of
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.stills import StillSettings
from masactrl_video.sources.characters.index import Recipe

FIELDS = [(record, name) for record in (Settings, StillSettings) for name in record.model_fields]
IGNORED = {(StillSettings, "clip")}
"""Settings that no command of their record has: still pictures inherit the clip."""

SAID_AS = {"prompt": "prompts", "seed": "seeds"}
"""Settings of stills for which the command line has a list."""


def forgotten(record: type[BaseModel], name: str) -> list[str]:
    """What is not known of a setting, in words."""
    try:
        about = option_of(record, name)
    except TypeError as error:
        return [str(error)]
    help_text, said = record.model_fields[name].description, []
    if not help_text or help_text[0].isspace() or help_text.endswith("."):
        said.append("its help is empty, or no phrase without a full stop")
    if about.group not in get_args(Group):
        said.append(f"there is no group {about.group!r}")
    if about.changes not in get_args(Changes):
        said.append(f"what another value changes is one of {get_args(Changes)}, got {about.changes!r}")
    if unknown := about.commands - set(get_args(Command)):
        said.append(f"there are no commands {sorted(unknown)}")
    if not about.commands and (record, name) not in IGNORED:
        said.append("no command has it")
    if about.sweepable and about.changes not in ("source", "frames"):
        said.append("a grid would vary it in vain: it changes no picture")
    if about.fixed_by_character and name not in Recipe.model_fields:
        said.append("a character's recipe does not have it")
    said += [f"why has it no effect? {reason}" for reason in about.inactive if not re.search(r"\w$", reason.because)]
    if about.only is not None and "{name}" not in about.only.complaint:
        said.append("the complaint about it does not name it")
    return [f"{record.__name__}.{name}: {text}" for text in said]


@pytest.mark.parametrize(("record", "name"), FIELDS)
def test_all_is_known_of_every_setting(record: type[BaseModel], name: str) -> None:
    assert forgotten(record, name) == []


def test_a_setting_of_which_nothing_is_known_is_named() -> None:
    class More(Settings):
        sharpness: float = Field(default=0.0, description="how sharp")

    assert forgotten(More, "sharpness") == [
        "More.sharpness: nothing is known of this setting; describe it with option(…)"
    ]
    with pytest.raises(TypeError, match=r"More\.sharpness: nothing is known"):
        settings_for(More, "render")


@pytest.mark.parametrize("missing", ["changes", "commands"])
def test_a_setting_cannot_be_described_in_part(missing: str) -> None:
    known: dict[str, Any] = {"changes": "frames", "commands": VIDEOS}
    del known[missing]
    with pytest.raises(TypeError, match=missing):
        option("speed", "how sharp", 0.0, **known)


def test_what_is_wrong_with_a_description_is_said() -> None:
    class More(Settings):
        sharpness: float = option("speed", "Sharp.", 0.0, changes="speed", commands=frozenset(), sweepable=True)

    assert [text.partition(": ")[2] for text in forgotten(More, "sharpness")] == [
        "its help is empty, or no phrase without a full stop",
        "no command has it",
        "a grid would vary it in vain: it changes no picture",
    ]


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Command or sub-command → its parser."""
    found: dict[str, argparse.ArgumentParser] = {}
    for command in COMMANDS:
        found[command] = Parser(prog=command, allow_abbrev=False)
        import_module(f"masactrl_video.cli.{command}").add_arguments(found[command])
        for action in found[command]._actions:
            if isinstance(action, argparse._SubParsersAction):
                found |= {f"{command} {name}": parser for name, parser in action.choices.items()}
    return found


@pytest.mark.parametrize("command", [name for name in get_args(Command) if name != "story"])
def test_a_command_has_an_argument_for_each_of_its_settings_and_no_other(command: Command) -> None:
    record = record_of(command)
    names = {name: option_of(record, name) for name in settings_for(record, command)}
    arguments = {action.dest for action in parsers()[command]._actions}
    assert {name for name, about in names.items() if not about.by_hand} - arguments == set()
    assert ("controls" in names) == ("controlnet_conditioning_scale" in arguments)
    others = {(command, name) for name in (arguments & set(record.model_fields)) - set(names)}
    assert others - {("pose show", "frame_rate"), ("pose convert", "fit")} == set()  # flags of their own


def test_a_grid_varies_what_the_command_line_of_stills_can_say() -> None:
    said = settings_for(StillSettings, "sweep")
    for name in settings_where(StillSettings, lambda about: about.sweepable):
        assert name in sweepable()
        assert SAID_AS.get(name, name) in said


def test_only_what_changes_no_frame_may_change_in_an_unfinished_run() -> None:
    now = StillSettings.model_validate({**read_preset("demo"), "guidance": []}).as_yaml_data()
    free = [name for name in now if not changed_settings({**now, name: "another value"}, now)]
    assert free == settings_where(StillSettings, lambda about: about.changes in ("file", "speed"))
    assert {"crf", "cache_dir", "allow_partial"} <= set(free)
    assert {"seed", "batch_size", "save_masks", "taesd"} & set(free) == set()


def test_reasons_can_be_asked_of_any_settings() -> None:
    settings = Settings.model_validate({**read_preset("demo"), "clip": "clip.mp4"})
    reasons = {reason for _, name in FIELDS for reason in option_of(StillSettings, name).inactive}
    assert {type(reason.when(settings)) for reason in reasons} == {bool}


def test_files_that_are_read_are_looked_for_first(tmp_path: Path) -> None:
    settings = Settings.model_validate({**read_preset("demo"), "clip": tmp_path, "guidance": ["pose"]})
    paths = [name for name, field in Settings.model_fields.items() if field.annotation == (Path | None)]
    places = {name for name in paths if option_of(Settings, name).changes == "speed"}
    assert places == {"cache_dir", "characters_dir", "storage"}  # made where they are not; the last: its engine looks
    for name in set(paths) - places:
        with pytest.raises(UserError, match=name):
            check_inputs(settings.model_copy(update={name: tmp_path / "none"}))
