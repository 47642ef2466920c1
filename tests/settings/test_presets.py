"""Presets and configuration files: YAML in, validated settings out."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import masactrl_video
from masactrl_video.errors import UserError
from masactrl_video.settings.presets import preset_folder, preset_names, read_config, read_preset, resolve
from masactrl_video.settings.settings import Settings

PACKAGE = Path(masactrl_video.__file__).parent


def refusal(base: dict[str, object], **changes: object) -> str:
    with pytest.raises(UserError) as caught:
        resolve(base, {"clip": "clip.mp4", **changes})
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_gives_settings(name: str) -> None:
    settings = resolve(read_preset(name), {"clip": "clip.mp4", "prompt": "a bear"})
    assert set(settings.guidance) <= set(settings.controls)


@pytest.mark.parametrize("name", preset_names())
def test_settings_survive_the_way_through_yaml(name: str, tmp_path: Path) -> None:
    changes = {
        "clip": "clip.mp4",
        "prompt": "a “bear”: #1\n日本",
        "lora": {"a=b.safetensors": 0.1},
        "masa_layers": ["up_blocks.3", "7"],
    }
    settings = resolve(read_preset(name), changes)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(settings.as_yaml_data(), allow_unicode=True), encoding="utf-8")
    assert resolve(read_config(file), {}) == settings


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("background", ["own", "still", "clip"])
def test_every_preset_takes_every_background_with_its_own_scheduler(name: str, background: str) -> None:
    preset, changes = read_preset(name), {"attention_mode": "masked", "mask_words": ["bear"], "background": background}
    if background == "clip" and preset.get("scheduler", "ddim") not in ("ddim", "flow"):
        assert "inverted with ddim, not with dpm++" in refusal(preset, prompt="a bear", **changes)
        return
    assert resolve(preset, {"clip": "clip.mp4", "prompt": "a bear", **changes}).background == background


def test_presets_are_found_in_a_checkout() -> None:
    assert {"demo", "sd15-controlnet", "sd15-t2i-adapter", "sd14-paper", "anything-v4"} <= set(preset_names())
    assert preset_folder().name == "configs"


def test_presets_are_found_inside_an_installed_package(tmp_path: Path) -> None:
    installed = tmp_path / "site-packages" / "masactrl_video"
    for part in ("__init__.py", "errors.py", "plugins.py"):
        installed.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE / part, installed / part)
    for part in ("storage", "settings"):
        shutil.copytree(PACKAGE / part, installed / part)
    shutil.copytree(preset_folder(), installed / "configs")
    (installed / "configs" / "mine.yaml").write_text("model: demo\n")
    program = "from masactrl_video.settings.presets import preset_names; print(*preset_names())"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path / "site-packages", capture_output=True, text=True, check=True
    )
    assert "mine" in run.stdout.split()


def test_controls_are_merged_by_name() -> None:
    pose = {"kind": "pose", "adapter": "controlnet", "model": "./mine"}
    settings = resolve(read_preset("demo"), {"clip": "clip.mp4", "controls": {"pose": pose}})
    assert settings.controls["pose"].model == "./mine"
    assert settings.controls["canny"].model == "demo/controlnet-canny"


def test_an_unknown_preset_names_those_that_there_are() -> None:
    with pytest.raises(UserError, match=r"no 'demmo'.*demo.*--config"):
        read_preset("demmo")


@pytest.mark.parametrize(
    "text",
    [
        "model: !!python/object/apply:os.system ['true']",
        "model: !!python/name:os.system",
        "model: [",
        "model: !!int many",
        "[" * 3000,
        "- a\n- b",
        "3: 4",
        "",
        "# nothing",
        "x" * 1_000_001,
    ],
)
def test_a_file_that_is_no_configuration_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        read_config(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_or_a_binary_as_configuration_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(bytes(range(256)))
    for path in (tmp_path, binary, tmp_path / "missing.yaml"):
        with pytest.raises(UserError, match="cannot be read as a configuration"):
            read_config(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"promt": "a bear"}, ["promt", "no such setting"]),
        ({"seed": "many"}, ["seed", "'many'"]),
        ({"seed": -1}, ["seed", "-1"]),
        ({"seed": 2**32}, ["seed"]),
        ({"guidance_scale": float("nan")}, ["guidance_scale"]),
        ({"guidance_scale": float("inf")}, ["guidance_scale"]),
        ({"lora": {"a.safetensors": float("nan")}}, ["lora"]),
        ({"num_inference_steps": 0}, ["num_inference_steps", "0"]),
        ({"frame_load_cap": 0}, ["frame_load_cap", "0"]),
        ({"batch_size": 0}, ["batch_size", "0"]),
        ({"batch_size": 33}, ["batch_size 33", "chunk_frames"]),
        ({"fit": "stretch"}, ["fit", "'stretch'", "crop"]),
        ({"scheduler": "pndm"}, ["scheduler", "'pndm'", "ddim"]),
        ({"prompt": 5}, ["prompt", "5"]),
        ({"guidance": ["depth"]}, ["'depth'", "canny"]),
        ({"guidance": ["canny", "canny"]}, ["twice"]),
        ({"guidance_video": {"pose": "p.mp4"}}, ["guidance_video", "'pose'"]),
        ({"source": "clip", "source_image": "a.png"}, ["exclude"]),
        ({"source": "clip", "scheduler": "euler"}, ["euler", "ddim"]),
        ({"source_image": "a.png", "scheduler": "lcm"}, ["lcm", "ddim"]),
        ({"mask_words": ["bear"]}, ["mask_words", "masked"]),
        ({"source_mask_words": ["bear"]}, ["source_mask_words", "masked"]),
        ({"source_caption": "a bear"}, ["source_caption", "masked"]),
        ({"save_masks": True}, ["save_masks", "masked"]),
        ({"controls": {"x": {"kind": "../x", "adapter": "controlnet", "model": "m"}}}, ["controls.x.kind"]),
        ({"controls": {"x": {"kind": "x", "adapter": "controlnet", "model": "m", "start": 0.5, "end": 0.5}}}, ["0.5"]),
        ({"controls": {"x": {"kind": "x", "adapter": "controlnet"}}}, ["controls.x.model", "missing"]),
        ({"controls": {"x": {"kind": "x", "adapter": "lora", "model": "m"}}}, ["controls.x.adapter", "'lora'"]),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(changes: dict[str, object], words: list[str]) -> None:
    message = refusal(read_preset("demo"), **changes)
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mask_words": ["bear"], "source_mask": "m.png", "source_mask_words": ["bear"]},
        {"target_masks": "masks"},
        {"mask_words": ["bear"], "target_masks": "masks", "source_mask": "m.png"},
        {"mask_words": ["bear"], "source_caption": "a bear"},
        {"mask_words": ["bear"], "source_mask": "m.png", "target_masks": "masks", "save_masks": True},
        {"target_masks": "masks", "source_mask": "m.png", "save_masks": True},
    ],
)
def test_masks_that_are_missing_or_in_each_others_way_are_refused(changes: dict[str, object]) -> None:
    assert "mask" in refusal(read_preset("demo"), attention_mode="masked", **changes)


@pytest.mark.parametrize(
    ("given", "beside"),
    [
        ({"canny_low_threshold": 50}, {"guidance": ["pose"]}),
        ({"canny_high_threshold": 200}, {"guidance_video": {"canny": "edges.mp4"}}),
        ({"pose_detector": "p.onnx"}, {}),
        ({"pose_json": "p.json"}, {"guidance": []}),
        ({"pose_detector": "p.onnx"}, {"guidance": ["pose"], "pose_json": "p.json"}),
        ({"fill_missing_poses": True}, {"guidance": ["pose"], "guidance_video": {"pose": "p.mp4"}}),
        ({"negative_prompt": "blurry"}, {"guidance_scale": 1}),
        ({"seed": 3}, {"source": "clip"}),
        ({"source_frame": 1}, {"source_image": "a.png"}),
        ({"source_frame": 1}, {"guidance": []}),
        ({"source": "generate"}, {"source_image": "a.png"}),
        ({"masa_step": 1}, {"masa_steps": [1]}),
        ({"masa_layer": 1}, {"masa_layers": ["1"]}),
        ({"mask_threshold": 0.2}, {}),
        ({"mask_grid_divisor": 2}, {"attention_mode": "masked", "source_mask": "m.png", "target_masks": "masks"}),
    ],
)
def test_a_setting_without_effect_is_refused_when_asked_for_but_may_wait_in_a_preset(
    given: dict[str, object], beside: dict[str, object]
) -> None:
    (name,) = given
    message = refusal(read_preset("demo"), **given, **beside)
    assert message.startswith(f"{name}: it would have no effect")
    assert isinstance(resolve({**read_preset("demo"), **given}, {"clip": "clip.mp4", **beside}), Settings)


def test_a_value_of_gigabytes_is_told_in_short() -> None:
    bomb: object = "x" * 10
    for _ in range(12):
        bomb = [bomb] * 10
    assert len(refusal(read_preset("demo"), seed=bomb)) < 2000


def test_a_missing_clip_or_model_says_where_it_goes() -> None:
    with pytest.raises(UserError, match=r"^clip: missing; name it on the command line"):
        resolve(read_preset("demo"), {})
    with pytest.raises(UserError, match=r"^model: missing; give --model"):
        resolve({}, {"clip": "clip.mp4", "guidance": []})


@pytest.mark.parametrize(
    ("base", "steps", "expected"),
    [
        ((50, 4), 25, 2),
        ((50, 4), 100, 8),
        ((50, 4), 4, 1),
        ((50, 2), 20, 1),
        ((20, 2), 15, 2),
        ((50, 0), 8, 0),
        ((50, 4), 1, 0),
        ((50, 4), 2, 1),
    ],
)
def test_s_keeps_its_fraction_of_another_number_of_steps_and_says_so(
    base: tuple[int, int], steps: int, expected: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="masactrl_video")
    before = {"clip": "clip.mp4", "model": "demo", "num_inference_steps": base[0], "masa_step": base[1], "guidance": []}
    assert resolve(before, {"num_inference_steps": str(steps)}).masa_step == expected
    told = f"masa_step: {base[1]} of {base[0]} steps becomes {expected} of {steps}"
    assert (told in caplog.text) == (expected != base[1])


@pytest.mark.parametrize("given", [{"masa_step": 3}, {"masa_steps": [0, 1]}])
def test_an_s_that_is_given_stays(given: dict[str, object]) -> None:
    before = {"clip": "clip.mp4", "model": "demo", "num_inference_steps": 50, "masa_step": 4, "guidance": []}
    settings = resolve(before, {"num_inference_steps": 10, **given})
    assert (settings.masa_step, settings.masa_steps) == (given.get("masa_step", 4), given.get("masa_steps"))
