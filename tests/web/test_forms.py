"""Forms come from the settings' own descriptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from masactrl_video.errors import UserError
from masactrl_video.settings.fields import Inactive, option, settings_for
from masactrl_video.settings.presets import preset_names, read_preset, resolve
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.stills import StillSettings
from masactrl_video.web.form_fields import FormField, field_of, idle_settings, is_a_place

RENDER = settings_for(Settings, "render")
FIELDS = {name: field_of(Settings, name, ["pose", "canny"]) for name in RENDER if name not in ("controls", "clip")}


class WithNew(Settings):
    """Settings to which somebody has added some."""

    shininess: float = option(
        "attention",
        "how shiny it is",
        0.5,
        changes="frames",
        commands=frozenset({"render"}),
        ge=0,
        le=2,
        inactive=(Inactive("nothing shines at night", lambda s: s.seed == 1),),
    )
    weather: Literal["sun", "rain"] | None = option(
        "prompt", "of the scene", None, changes="frames", commands=frozenset({"render"})
    )
    backdrop: Path | None = option("clip", "a picture", None, changes="source", commands=frozenset({"render"}))


def test_a_new_setting_appears_with_its_help_range_and_dependence() -> None:
    new = [name for name in settings_for(WithNew, "render") if name not in RENDER]
    shininess, weather, backdrop = (field_of(WithNew, name) for name in new)
    assert (shininess.kind, shininess.info, shininess.default) == ("number", "how shiny it is (0 to 2)", 0.5)
    assert (weather.kind, weather.choices, weather.optional) == ("choice", ("sun", "rain"), True)
    assert backdrop.kind == "file"
    fields = [shininess, weather, field_of(WithNew, "seed")]
    assert "shininess" not in idle_settings(WithNew, fields, read_preset("demo"), {})
    idle = idle_settings(WithNew, fields, read_preset("demo"), {"seed": 1})
    assert idle == {"shininess": "nothing shines at night"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("allow_partial", "switch"),
        ("fit", "choice"),
        ("attention_mode", "choice"),
        ("seed", "number"),
        ("frame_load_cap", "number"),
        ("hold_colours", "number"),
        ("prompt", "text"),
        ("batch_size", "text"),
        ("cache_quota", "text"),
        ("key_frames", "text"),
        ("masa_layers", "words"),
        ("lora", "pairs"),
        ("guidance", "several"),
        ("source_image", "file"),
    ],
)
def test_each_kind_of_setting_is_asked_for_in_its_way(name: str, kind: str) -> None:
    assert FIELDS[name].kind == kind


def test_bounds_are_said() -> None:
    assert FIELDS["seed"].info.endswith("(0 to 4294967295)")
    assert FIELDS["crf"].info.endswith("(0 to 63)")
    assert FIELDS["num_inference_steps"].info.endswith("(from 1)")


@pytest.mark.parametrize("preset", preset_names())
def test_a_form_that_nobody_has_touched_says_nothing(preset: str) -> None:
    base = read_preset(preset)
    assert [name for name, field in FIELDS.items() if field.said(field.shown(base), base) is not None] == []


def test_places_of_the_server_are_not_asked_for() -> None:
    assert {name for name, field in FIELDS.items() if is_a_place(field)} == {"cache_dir", "characters_dir", "storage"}


SAID: list[tuple[str, Any, Any]] = [
    ("num_inference_steps", 7.0, 7),
    ("guidance_scale", 2.5, 2.5),
    ("prompt", "a bear", "a bear"),
    ("prompt", "", ""),
    ("source_prompt", "", None),
    ("batch_size", "auto", "auto"),
    ("masa_layers", "8, 10 ,", ["8", "10"]),
    ("lora", "a.safetensors\nb=c.safetensors=0.5", {"a.safetensors": "1", "b=c.safetensors": "0.5"}),
    ("guidance", ["pose"], ["pose"]),
    ("guidance", [], []),
    ("attention_mode", "union", "union"),
    ("frame_load_cap", None, None),
    ("audio", False, False),
]


@pytest.mark.parametrize(("name", "given", "said"), SAID)
def test_what_a_form_says_is_what_a_flag_would(name: str, given: Any, said: Any) -> None:
    assert FIELDS[name].said(given, read_preset("demo")) == said


def test_pairs_that_are_none_are_refused() -> None:
    with pytest.raises(UserError, match="guidance_video: got 'canny'"):
        FIELDS["guidance_video"].said("canny", {})


DEPENDENT: list[tuple[dict[str, Any], set[str], set[str]]] = [
    ({}, {"mask_words", "smooth_poses", "workers"}, {"canny_low_threshold", "masa_step"}),
    ({"guidance": ["pose"]}, {"canny_low_threshold"}, {"smooth_poses", "pose_json"}),
    ({"attention_mode": "masked"}, set(), {"mask_words", "source_mask"}),
    ({"engine": "ray"}, set(), {"workers"}),
    ({"masa_steps": ["1", "2"]}, {"masa_step"}, set()),
    ({"guidance_scale": 1}, {"negative_prompt"}, set()),
    ({"seed": "no number"}, {"workers"}, {"seed"}),
]


@pytest.mark.parametrize(("said", "idle", "active"), DEPENDENT)
def test_what_has_no_effect_is_known(said: dict[str, Any], idle: set[str], active: set[str]) -> None:
    found = idle_settings(Settings, list(FIELDS.values()), read_preset("demo"), said)
    assert idle <= set(found)
    assert not active & set(found)
    assert all(found.values())


def test_what_is_known_to_have_no_effect_is_refused_by_the_settings_too() -> None:
    base = {**read_preset("demo"), "clip": "clip"}
    for name, value in {"smooth_poses": 7, "hand_over": "mix", "pose_confidence": 0.5}.items():
        assert name in idle_settings(Settings, list(FIELDS.values()), base, {})
        with pytest.raises(UserError):
            resolve(base, {name: value})


def test_fields_of_still_pictures_are_theirs() -> None:
    fields: list[FormField] = [field_of(StillSettings, name) for name in ("inversion_iterations", "rows", "seed")]
    idle = idle_settings(StillSettings, fields, read_preset("demo"), {})
    assert set(idle) == {"inversion_iterations"}
    assert fields[0].info.endswith("(0 to 100)")
