"""Every command that makes pictures, on an SD-1.x model as users have them: one checkpoint file and a ControlNet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ldm_layout
import numpy as np
import pytest
import tiny_models
import yaml
from PIL import Image

from masactrl_video.cli.main import main
from masactrl_video.settings.presets import read_preset
from masactrl_video.video.png import read_png

POSE = {"kind": "pose", "adapter": "controlnet", "model": "openpose"}
MODEL = {"model": "anything.safetensors", "single_file_config": "config", "controls": {"pose": POSE}}
STORY = {
    "settings": {"controls": {"pose": POSE}},
    "layout": [[1, 1], [1]],
    "page": {"width": 400, "height": 400, "text_size": 16, "min_text_size": 8},
    "characters": {
        "bear": {"prompt": "a bear standing", "pose": "standing", "words": ["bear"], "size": [64, 64]},
        "frog": {"image": "photo.png", "caption": "a frog", "words": ["frog"], "size": [64, 96]},
    },
    "panels": [
        {"prompt": "a bear waving", "characters": ["bear"], "pose": "waving", "size": [64, 64], "caption": "Hi."},
        {"prompt": "[NC] the snow", "size": [64, 64]},
        {
            "prompt": "a bear and a frog",
            "size": [128, 64],
            "characters": {
                "bear": {"pose": "pointing", "box": [0, 0, 0.5, 1]},
                "frog": {"pose": "cheering", "box": [0.5, 0, 1, 1], "prompt": "a frog cheering"},
            },
            "balloons": [{"text": "Hello!", "by": "frog"}],
        },
    ],
}
SHORT = ("--num-inference-steps", "2", "-q")
SIZE = ("--width", "64", "--height", "64")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("anime")
    pipe = tiny_models.sd1_pipeline()
    pipe.save_pretrained(made / "config")
    ldm_layout.save_checkpoint(pipe, made / "anything.safetensors")
    tiny_models.controlnet(pipe.unet).save_pretrained(made / "openpose")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 64, 3), np.uint8)).save(made / "photo.png")
    (made / "story.yaml").write_text(yaml.safe_dump(STORY))
    preset = read_preset("anything-v4")
    (made / "anime.yaml").write_text(yaml.safe_dump({**preset, **MODEL, "masa_step": 1}))
    (made / "script.txt").write_text("a bear in the snow # One day.\n[NC] the snow\n")
    return made


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    monkeypatch.chdir(folder)
    stored = ("--cache-dir", "cache", "--characters-dir", "characters")

    model = ("--model", "anything.safetensors", "--single-file-config", "config", "--masa-step", "1")

    def call(command: str, *arguments: str) -> str:
        ours = ("--preset", "anything-v4", *model) if command == "comic" else ("--config", "anime.yaml")
        status = main([*command.split(), *arguments, *ours, *stored, *SHORT])
        shown = capsys.readouterr()
        assert status == 0, shown.err
        return shown.out

    return call


DRESSED = ("--source-prompt", "a bear in a red shirt and blue pants")
GRID = ("--rows", "masa_step=0,1", "--columns", "masa_layer=8,10")


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("synthesize", ("--source-prompt", "a bear", "--source-guidance", "pose=standing", *SIZE)),
        ("edit", ("photo.png", *SIZE)),
        ("sweep", (*DRESSED, "--source-guidance", "pose=standing", *GRID, *SIZE)),
        ("compare", ("--source-prompt", "a bear", *SIZE)),
    ],
)
def test_still_pictures(run: Callable[..., str], command: str, flags: tuple[str, ...]) -> None:
    targets = ("--prompt", f"{DRESSED[1]} waving", "--target-guidance", "pose=waving")
    run(command, *flags, *targets, "-o", command)
    assert read_png(Path(command) / "sheet.png").shape[1] > 128
    assert not (Path(command) / "figures.csv").exists()  # what is right is known of the demo model only


@pytest.mark.long
def test_poses_become_a_clip(run: Callable[..., str]) -> None:
    assert main(["pose", "tween", "standing", "waving", "--every", "2", "--loop", "-q", "-o", "moves.json"]) == 0
    run("animate", "moves.json", "--prompt", "a bear", *SIZE, "-o", "out.mp4")
    assert len(list(Path("out/frames").iterdir())) == 4


@pytest.mark.parametrize("story", ["story.yaml", "script.txt"])
def test_stories_become_pages(run: Callable[..., str], story: str) -> None:
    who = ("--prompt", "a bear") if story.endswith(".txt") else ()
    page = Path(f"page-of-{Path(story).stem}.cbz")
    run("comic", story, *who, "-o", str(page))
    assert page.is_file()
    assert (page.with_suffix("") / "pages" / "001.png").is_file()


@pytest.mark.long
def test_a_kept_character_plays_in_a_clip(run: Callable[..., str]) -> None:
    run("source make hero", "--prompt", "a bear", "--pose", "standing", *SIZE)
    assert "hero" in capture(run, "pose.mp4")


def capture(run: Callable[..., str], output: str) -> str:
    assert main(["pose", "tween", "standing", "running", "--every", "2", "-q", "-o", "kept.json"]) == 0
    run("animate", "kept.json", "--character", "hero", "--prompt", "a bear running", *SIZE, "-o", output)
    return (Path(output).with_suffix("") / "config.yaml").read_text()
