"""Settings of still pictures, and grids of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from masactrl_video.errors import UserError
from masactrl_video.jobs.grid import NOTHING, cell_settings, parse_axis, parse_grid, sweepable
from masactrl_video.settings.presets import read_preset
from masactrl_video.settings.stills import StillSettings, resolve_stills


def still(**changes: Any) -> StillSettings:
    return resolve_stills(read_preset("demo"), changes)


def edges(*names: str) -> dict[str, list[Path]]:
    return {"canny": [Path(name) for name in names]}


def test_a_presets_guidance_waits_for_pictures() -> None:
    assert still().guidance == []
    assert still(target_guidance=edges("a.png")).guidance == ["canny"]


def test_guidance_follows_the_kinds_of_the_pictures_unless_it_is_named() -> None:
    assert still(target_guidance={"pose": [Path("a.png")]}).guidance == ["pose"]
    assert still(source_guidance={"pose": "a.png"}, target_guidance=edges("a.png")).guidance == ["canny", "pose"]
    by_adapter = still(guidance=["t2i-pose"], target_guidance={"pose": [Path("a.png")]})
    assert by_adapter.guidance == ["t2i-pose"]


def test_each_target_has_its_own_prompt_and_picture() -> None:
    settings = still(prompts=["a", "b"], seeds=[3], target_guidance=edges("a.png", "b.png"))
    found = [(one.prompt, one.seed, one.target_guidance) for one in settings.targets(3)]
    assert found == [("a", 3, edges("a.png")), ("b", 3, edges("b.png"))]


def test_one_of_a_kind_is_for_all_targets() -> None:
    assert [one.prompt for one in still(prompts=["a"], target_guidance=edges("a.png", "b.png")).targets(0)] == ["a"] * 2
    both = still(prompts=["a", "b"], target_guidance=edges("a.png")).targets(0)
    assert [one.target_guidance for one in both] == [edges("a.png")] * 2


def test_a_target_by_itself_survives_the_way_through_yaml() -> None:
    (one,) = still(prompts=["a"], seeds=[3], target_guidance=edges("a.png")).targets(3)
    assert resolve_stills(one.as_yaml_data(), {}) == one


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompts": ["a", "b"], "target_guidance": edges("a.png", "b.png", "c.png")}, "there are 3 of one and 2"),
        ({"target_guidance": {"depth": [Path("a.png")]}}, "a picture for 'depth', which is not in use (canny)"),
        ({"guidance": ["canny"]}, "'canny': it needs pictures"),
        ({"target_guidance": {"canny": []}}, "a kind has no picture"),
        ({"source": "clip"}, "still pictures have no clip"),
        ({"source_image": "a.png", "source_guidance": {"canny": "a.png"}}, "inverted without guidance"),
        ({"replay": False}, "replay: only a given picture is inverted"),
        ({"inversion_iterations": 3}, "inversion_iterations: only a given picture"),
        ({"seeds": [-1]}, "got -1"),
        ({"sdedit_strength": 0}, "sdedit_strength: got 0"),
        ({"source_image": "a.png", "scheduler": "euler"}, "inverted with ddim"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        still(**changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_axis_is_a_setting_and_its_values() -> None:
    assert parse_axis("rows", "masa_step=0, 2,4").values == ("0", "2", "4")
    assert parse_axis("rows", "--masa-layer=8").name == "masa_layer"
    assert parse_axis("rows", "prompt=a cat, sitting|a dog").values == ("a cat, sitting", "a dog")
    assert parse_axis("rows", None) == NOTHING


def test_a_cell_has_the_values_of_its_place() -> None:
    (one,) = still(target_guidance=edges("a.png")).targets(0)
    values = {"masa_layers": "up_blocks.2 7", "controlnet_conditioning_scale": "0.5"}
    cell = cell_settings(one, values)
    assert (cell.masa_layers, cell.controls["canny"].scale) == (["up_blocks.2", "7"], 0.5)
    assert one.controls["canny"].scale == 1
    assert cell_settings(one, {"prompt": "a frog", "seed": "7"}).targets(7)[0].prompt == "a frog"


def test_words_of_the_object_wait_for_the_masked_cells() -> None:
    (one,) = still(attention_mode="masked", mask_words=["bear"]).targets(0)
    modes = [cell_settings(one, {"attention_mode": mode}) for mode in ("source", "masked")]
    assert [cell.mask_words for cell in modes] == [[], ["bear"]]


@pytest.mark.parametrize("name", sweepable())
def test_whatever_can_be_swept_is_a_setting_with_a_meaning_for_stills(name: str) -> None:
    assert parse_axis("rows", f"{name}=1,2").name == name


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        (None, None, "missing"),
        ("masa_step", None, "write a setting and its values"),
        ("masa_setp=1", None, "'masa_setp' cannot be swept"),
        ("model=a,b", None, "'model' cannot be swept"),
        ("masa_step=1,1", None, "comes twice"),
        ("masa_step=1,2", "masa_step=3,4", "both vary masa_step"),
    ],
)
def test_grids_that_cannot_be_are_refused(rows: str | None, columns: str | None, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_grid(still(rows=rows, columns=columns))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"masa_step": "two"}, "masa_step: got 'two'"),
        ({"masa_step": "-1"}, "masa_step: got '-1'"),
        ({"attention_mode": "some"}, "attention_mode: got 'some'"),
        ({"mask_threshold": "0.5"}, "no effect"),
        ({"control_guidance_end": "0.5"}, "no guidance is in use"),
    ],
)
def test_values_that_a_setting_cannot_have_are_refused(values: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        cell_settings(still().targets(0)[0], values)
