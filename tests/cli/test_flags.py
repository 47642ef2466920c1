"""Flags and settings: each flag changes the setting of its name, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from masactrl_video.cli.options import Parser, add_settings, settings_from
from masactrl_video.errors import UserError
from masactrl_video.settings.settings import Settings

NO_FLAG = {
    "clip": "the positional argument",
    "controls": "--controlnet, --t2i-adapter and their weights",
    "sources": "--source-at",
    "cast": "--cast, of pairs",
    "cast_prompts": "--cast-prompt",
}
MASKED = ["--attention-mode", "masked", "--mask-words", "bear"]
POSE = ["--guidance", "pose"]
RAY = ["--engine", "ray"]

# setting → what is typed after its flag, the value that it gets, and flags without which it would have no effect
FLAGS: dict[str, tuple[list[str], object, list[str]]] = {
    "skip_first_frames": (["3"], 3, []),
    "select_every_nth": (["2"], 2, []),
    "frame_load_cap": (["9"], 9, []),
    "allow_partial": ([], True, []),
    "video_stream": (["1"], 1, []),
    "frame_rate": (["12.5"], 12.5, []),
    "fit": (["pad"], "pad", []),
    "width": (["64"], 64, []),
    "height": (["64"], 64, []),
    "guidance": (["pose", "canny"], ["pose", "canny"], []),
    "guidance_video": (["canny=a=b.mp4"], {"canny": Path("a=b.mp4")}, []),
    "pose_detector": (["p.onnx"], "p.onnx", POSE),
    "pose_threshold": (["0.1"], 0.1, POSE),
    "pose_json": (["p.json"], Path("p.json"), POSE),
    "fill_missing_poses": ([], True, POSE),
    "pose_canvas": (["640x480"], "640x480", POSE),
    "pose_confidence": (["0.3"], 0.3, POSE),
    "person": (["largest"], "largest", POSE),
    "fill_pose_gaps": (["5"], 5, POSE),
    "smooth_poses": (["7"], 7, POSE),
    "retarget": (["r.json"], Path("r.json"), POSE),
    "retarget_foreshortening": ([], True, [*POSE, "--retarget", "r.json"]),
    "canny_low_threshold": (["50"], 50, []),
    "canny_high_threshold": (["150"], 150, []),
    "model": (["org/name"], "org/name", []),
    "revision": (["main"], "main", []),
    "prediction_type": (["v_prediction"], "v_prediction", []),
    "variant": (["fp16"], "fp16", []),
    "single_file_config": (["org/name"], "org/name", []),
    "dtype": (["bfloat16"], "bfloat16", []),
    "device": (["cpu"], "cpu", []),
    "lora": (["a=b.safetensors=0.5"], {"a=b.safetensors": 0.5}, []),
    "scheduler": (["euler"], "euler", []),
    "prompt": (["a frog"], "a frog", []),
    "negative_prompt": (["blurry"], "blurry", []),
    "num_inference_steps": (["7"], 7, ["--masa-step", "2"]),
    "guidance_scale": (["3.5"], 3.5, []),
    "seed": (["7"], 7, []),
    "noise": (["per-frame"], "per-frame", []),
    "source": (["clip"], "clip", []),
    "source_frame": (["2"], 2, []),
    "source_image": (["s.png"], Path("s.png"), []),
    "source_prompt": (["a frog"], "a frog", []),
    "character": (["hero"], "hero", ["--prompt", "a bear"]),
    "references": (["villain"], ["villain"], ["--character", "hero"]),
    "source_caption": (["a frog"], "a frog", [*MASKED, "--source", "clip"]),
    "key_frames": (["auto"], "auto", []),
    "key_frame_threshold": (["0.3"], 0.3, ["--key-frames", "auto"]),
    "hand_over": (["mix"], "mix", ["--key-frames", "3"]),
    "hand_over_frames": (["4"], 4, ["--key-frames", "3", "--hand-over", "mix"]),
    "masa_step": (["3"], 3, []),
    "masa_layer": (["12"], 12, []),
    "masa_steps": (["1", "3"], [1, 3], []),
    "masa_layers": (["up_blocks.3", "7"], ["up_blocks.3", "7"], []),
    "source_positions": (["free"], "free", []),
    "attention_mode": (["union"], "union", []),
    "mask_words": (["red", "shirt"], ["red", "shirt"], MASKED),
    "source_mask_words": (["frog"], ["frog"], MASKED),
    "source_mask": (["m.png"], Path("m.png"), MASKED),
    "target_masks": (["masks"], Path("masks"), MASKED),
    "mask_attributes": (["red", "shirt"], ["red", "shirt"], MASKED),
    "mask_rim": (["auto"], "auto", MASKED),
    "mask_cells": (["nearest"], "nearest", MASKED),
    "mask_threshold": (["0.5"], 0.5, MASKED),
    "mask_grid_divisor": (["4"], 4, MASKED),
    "neighbour": (["0.5"], 0.5, []),
    "background": (["still"], "still", MASKED),
    "still_margin": (["2"], 2, [*MASKED, "--background", "still"]),
    "hold_colours": (["0.5"], 0.5, []),
    "colours_from": (["0.6"], 0.6, ["--hold-colours", "1"]),
    "batch_size": (["2"], 2, []),
    "chunk_frames": (["8"], 8, []),
    "cache_dir": (["cache"], Path("cache"), []),
    "cache_dtype": (["int8"], "int8", []),
    "cache_memory": (["8GiB"], 8 << 30, []),
    "skip_uncond": (["0.3"], 0.3, []),
    "channels_last": ([], True, []),
    "vae_tiling": ([], True, []),
    "engine": (["ray"], "ray", []),
    "ray_address": (["auto"], "auto", RAY),
    "workers": (["2"], 2, RAY),
    "gpus_per_worker": (["0.5"], 0.5, RAY),
    "storage": (["shared"], Path("shared"), RAY),
    "source_pose": (["standing"], "standing", ["--source-positions", "pose", "--guidance", "pose"]),
    "true_cfg_scale": (["2"], 2.0, []),
    "cfg_normalization": (["1"], 1.0, []),
    "cfg_truncation": (["0.8"], 0.8, []),
    "source_storage": (["live"], "live", []),
    "compile": ([], True, []),
    "reuse_deep_features": (["3"], 3, []),
    "offload": (["sequential"], "sequential", []),
    "taesd": (["org/taesd"], "org/taesd", []),
    "cache_quota": (["20GiB"], 20 * 2**30, []),
    "characters_dir": (["characters"], Path("characters"), []),
    "codec": (["libx265"], "libx265", []),
    "pix_fmt": (["yuv444p"], "yuv444p", []),
    "crf": (["20"], 20, []),
    "save_masks": ([], True, MASKED),
}
SWITCHED_OFF = {"audio": "--no-audio", "side_by_side": "--no-side-by-side"}


def settings(*arguments: str) -> Settings:
    parser = Parser(prog="masactrl-video", allow_abbrev=False)
    add_settings(parser)
    return settings_from(parser.parse_args(["clip.mp4", *arguments]))


def changed(before: Settings, after: Settings) -> set[str]:
    return {name for name in Settings.model_fields if getattr(before, name) != getattr(after, name)}


def test_every_setting_has_a_flag() -> None:
    assert {*FLAGS, *SWITCHED_OFF, *NO_FLAG} == set(Settings.model_fields)


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_changes_its_setting_alone(name: str) -> None:
    typed, value, beside = FLAGS[name]
    before, after = settings(*beside), settings(*beside, "--" + name.replace("_", "-"), *typed)
    assert getattr(after, name) == value
    assert changed(before, after) == {name}


@pytest.mark.parametrize("name", SWITCHED_OFF)
def test_what_is_on_can_be_switched_off(name: str) -> None:
    after = settings(SWITCHED_OFF[name])
    assert getattr(after, name) is False
    assert changed(settings(), after) == {name}


def test_people_are_said_one_by_one() -> None:
    before = settings(*POSE)
    after = settings(*POSE, "--cast", "0=anna", "--cast", "1=ben", "--cast-prompt", "1=a bear, x=y")
    assert (after.cast, after.cast_prompts) == ({"0": "anna", "1": "ben"}, {"1": "a bear, x=y"})
    assert changed(before, after) == {"cast", "cast_prompts"}


def test_sources_are_said_frame_by_frame() -> None:
    after = settings("--source-at", "0=clip", "--source-at", "24=a=b.png")
    assert after.sources == {"0": "clip", "24": "a=b.png"}
    assert changed(settings(), after) == {"sources"}


def test_a_controlnet_takes_the_place_of_the_presets_guidance() -> None:
    after = settings("--controlnet", "pose=org/net=1")
    assert after.guidance == ["pose"]
    assert (after.controls["pose"].adapter, after.controls["pose"].model) == ("controlnet", "org/net=1")
    assert after.controls["canny"] == settings().controls["canny"]
    assert changed(settings(), after) == {"guidance", "controls"}


def test_the_presets_own_network_can_be_named_too() -> None:
    assert settings("--controlnet", "pose=demo/controlnet-pose").guidance == ["pose"]


def test_controlnet_and_adapter_of_one_kind_go_together() -> None:
    after = settings("--controlnet", "pose=a/b", "--t2i-adapter", "pose=c/d", "--t2i-adapter", "canny=e/f")
    assert after.guidance == ["pose", "t2i-pose", "t2i-canny"]
    assert [after.controls[name].adapter for name in after.guidance] == ["controlnet", "t2i-adapter", "t2i-adapter"]
    assert after.kinds == ["pose", "canny"]


def test_weights_are_for_all_or_for_each_in_use() -> None:
    one = settings("--guidance", "pose", "canny", "--controlnet-conditioning-scale", "0.5")
    assert [one.controls[name].scale for name in ("pose", "canny", "t2i-pose")] == [0.5, 0.5, 1]
    each = settings(
        *("--guidance", "pose", "canny", "--controlnet-conditioning-scale", "0.5", "0.25"),
        *("--control-guidance-start", "0.1", "0.2", "--control-guidance-end", "0.9"),
    )
    found = [(each.controls[n].scale, each.controls[n].start, each.controls[n].end) for n in each.guidance]
    assert found == [(0.5, 0.1, 0.9), (0.25, 0.2, 0.9)]
    new = settings("--controlnet", "canny=a/b", "--controlnet-conditioning-scale", "2")
    assert new.controls["canny"].scale == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--controlnet-conditioning-scale", "1", "2"], "got 2 values for 1 control"),
        (["--guidance", "--controlnet-conditioning-scale", "1"], "for 0 controls"),
        (["--control-guidance-start", "0.5", "--control-guidance-end", "0.4"], "begins to act at 0.5"),
        (["--controlnet-conditioning-scale", "nan"], "finite"),
        (["--controlnet", "pose"], "write it as KIND=MODEL"),
        (["--controlnet", "=a/b"], "write it as KIND=MODEL"),
        (["--guidance-video", "canny="], "write it as KIND=PATH"),
        (["--controlnet", "pose=a/b", "--controlnet", "pose=c/d"], "'pose' is given twice"),
        (["--guidance", "canny", "--controlnet", "pose=a/b"], "'pose' was given a network, but is not named"),
        (["--guidance", "pose", "--t2i-adapter", "pose=a/b"], "'t2i-pose' was given a network, but is not named"),
        (["--lora", "a.safetensors", "--lora", "a.safetensors=0.5"], "given twice"),
        (["--lora", "a.safetensors=much"], "'much'"),
        (["--preset", "demo", "--config", "c.yaml"], "not allowed with"),
        (["--promt", "a frog"], "unrecognized arguments: --promt"),
        (["--prom", "a frog"], "unrecognized arguments: --prom"),
        (["--fit", "stretch"], "invalid choice: 'stretch'"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(arguments: list[str], words: str) -> None:
    with pytest.raises(UserError) as caught:
        settings(*arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_lora_without_a_scale_counts_whole() -> None:
    assert settings("--lora", "a.safetensors", "--lora", "b.safetensors=0.5").lora == {
        "a.safetensors": 1.0,
        "b.safetensors": 0.5,
    }


def test_flags_come_after_the_configuration_which_comes_after_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("model: demo\nguidance: []\nseed: 4\nprompt: a frog\nclip: other.mp4\n")
    after = settings("--config", str(file), "--seed", "5")
    assert (after.seed, after.prompt, after.guidance, after.clip) == (5, "a frog", [], Path("clip.mp4"))


@pytest.mark.parametrize(
    "text",
    [
        "controls: [pose]",
        "controls: {canny: demo/controlnet-canny}",
        "controls: 3",
        "guidance: 3",
        "guidance: [[canny]]",
        "guidance: {canny: 1}",
        "guidance_video: canny.mp4",
        "lora: a.safetensors",
    ],
)
@pytest.mark.parametrize("beside", [[], ["--controlnet-conditioning-scale", "0.5"], ["--t2i-adapter", "canny=a/b"]])
def test_a_configuration_of_another_shape_is_refused(tmp_path: Path, text: str, beside: list[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"model: demo\n{text}\n")
    if text.startswith("guidance: ") and beside[:1] == ["--t2i-adapter"]:
        assert settings("--config", str(file), *beside).guidance == ["t2i-canny"]  # takes the place of what is there
        return
    with pytest.raises(UserError):
        settings("--config", str(file), *beside)


@pytest.mark.parametrize(
    ("command", "absent"),
    [
        ("frames", ["--seed", "--scheduler", "--audio", "--guidance"]),
        ("guidance", ["--seed", "--audio", "--save-masks", "--control-guidance-end"]),
        ("encode", ["--width", "--fit", "--side-by-side", "--seed"]),
        ("animate", ["--pose-json"]),
        ("source make", ["--batch-size", "--masa-step", "--skip-first-frames", "--guidance", "--character"]),
        ("comic", ["--batch-size", "--fit", "--audio", "--mask-words", "--source-caption", "--guidance"]),
        ("source record", ["--batch-size", "--noise", "--audio", "--crf"]),
    ],
)
def test_a_command_has_no_flags_that_it_would_ignore(run: Callable[..., Any], command: str, absent: list[str]) -> None:
    text = run(*command.split(), "--help").out.split()
    assert [flag for flag in absent if flag in text or f"[{flag}" in text] == []
