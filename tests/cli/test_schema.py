"""`masactrl-video schema`: settings as JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest
import yaml

from masactrl_video.settings.fields import Command, option_of, settings_for
from masactrl_video.settings.presets import preset_folder
from masactrl_video.settings.schema import record_of
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.sprites import SpriteSettings
from masactrl_video.settings.stills import StillSettings

Run = Callable[..., Any]


def schema(run: Run, *command: str) -> dict[str, Any]:
    ran = run("schema", *command)
    assert (ran.status, ran.err) == (0, "")
    found: dict[str, Any] = json.loads(ran.out)
    return found


def references(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        yield from [data["$ref"]] if "$ref" in data else []
        data = list(data.values())
    for item in data if isinstance(data, list) else []:
        yield from references(item)


@pytest.mark.parametrize("command", [name for name in get_args(Command) if name != "story"])
def test_a_commands_schema_has_its_settings_and_no_other(run: Run, command: Command) -> None:
    found = schema(run, *command.split())
    record = record_of(command)
    assert list(found["properties"]) == settings_for(record, command)
    assert found["additionalProperties"] is False
    for name, about in found["properties"].items():
        known = option_of(record, name)
        assert (about["group"], about["changes"], about["commands"]) == (
            *(known.group, known.changes),
            sorted(known.commands),
        )
        assert about["description"] == record.model_fields[name].description
    assert {ref for ref in references(found) if ref.removeprefix("#/$defs/") not in found.get("$defs", {})} == set()


def test_limits_choices_and_conditions_are_told(run: Run) -> None:
    about = schema(run, "render")["properties"]
    assert (about["crf"]["minimum"], about["crf"]["maximum"], about["crf"]["default"]) == (0, 63, 17)
    assert about["crf"]["changes"] == "file"
    assert about["fit"]["enum"] == ["crop", "pad", "resize"]
    assert {"enum": ["auto"]} in about["batch_size"]["anyOf"]
    assert about["masa_step"]["inactiveWhen"] == ["masa_steps lists the steps"]
    assert about["mask_words"]["onlyWhen"] == "it belongs to attention_mode masked"
    assert about["masa_step"]["sweepable"] and not about["noise"]["sweepable"]


def test_without_a_command_it_is_of_a_configuration_file(run: Run) -> None:
    found = schema(run)
    assert set(found["properties"]) == {*StillSettings.model_fields, *SpriteSettings.model_fields}
    assert found["properties"]["clip"]["commands"] != []
    for preset in preset_folder().glob("*.yaml"):
        assert set(yaml.safe_load(preset.read_text())) <= set(found["properties"])


def test_a_storys_schema_has_the_settings_that_may_stand_in_it(run: Run) -> None:
    found = schema(run, "story")
    assert {"characters", "panels", "settings"} <= set(found["properties"])
    settings = found["properties"]["settings"]
    assert list(settings["properties"]) == settings_for(Settings, "story")
    assert settings["additionalProperties"] is False
    assert {ref for ref in references(found) if ref.removeprefix("#/$defs/") not in found["$defs"]} == set()


@pytest.mark.parametrize("command", ["nothing", "probe"])
def test_a_command_without_settings_is_refused(run: Run, command: str) -> None:
    ran = run("schema", command)
    assert ran.status == 2
    assert f"schema: '{command}' has no settings; these have: render, animate, " in ran.err
    assert ran.err.count("\n") == 1
