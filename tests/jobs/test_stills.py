"""Still pictures: sources and targets, a given picture changed, grids, and methods beside each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from masactrl_video.attention.record import record_source
from masactrl_video.attention.use import use_source
from masactrl_video.cache.manage import list_entries
from masactrl_video.errors import UserError
from masactrl_video.jobs.compare import METHODS, compare
from masactrl_video.jobs.sweep import sweep
from masactrl_video.jobs.synthesize import edit, synthesize
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.sampling.latents import decode_latents, encode_picture, initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.settings.presets import read_preset
from masactrl_video.settings.stills import StillSettings, resolve_stills
from masactrl_video.video.png import read_png, read_png_text, write_png

Made = Callable[..., StillSettings]
Models = Callable[[StillSettings], DiffusionModel]
SOURCE, FROG, CAT = "a bear in the meadow", "a frog in the meadow", "a cat in the snow"


@pytest.fixture
def still(cache_dir: Path) -> Made:
    """Settings of the preset demo with 2 steps, of which the second is controlled."""
    short = {"cache_dir": cache_dir, "num_inference_steps": 2, "masa_step": 1, "width": 64, "height": 64}
    return lambda **changes: resolve_stills({**read_preset("demo"), **short}, changes)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture of 90x60."""
    x, y = np.meshgrid(np.arange(90), np.arange(60))
    picture = np.stack([2 * x, 4 * y, 255 - 2 * x], axis=-1).astype(np.uint8)
    write_png(tmp_path / "photo.png", picture)
    return tmp_path / "photo.png"


@pytest.fixture
def edges(tmp_path: Path) -> list[Path]:
    """Two guidance pictures."""
    paths = [tmp_path / "first.png", tmp_path / "second.png"]
    for number, path in enumerate(paths):
        picture = np.zeros((64, 64, 3), np.uint8)
        picture[10 + 20 * number : 30 + 20 * number, 20:40] = 255
        write_png(path, picture)
    return paths


def difference(one: Path, other: Path) -> int:
    return int(np.abs(np.subtract(read_png(one), read_png(other), dtype=np.int16)).max())


def test_targets_are_those_of_a_plain_pipeline_under_mutual_self_attention(
    still: Made, models: Models, tmp_path: Path
) -> None:
    settings = still(source_prompt=SOURCE, prompts=[FROG, CAT], seeds=[3])
    model = models(settings)
    ((source, *targets),) = synthesize(settings, tmp_path / "out", model=model)
    pipe, noise = model.pipe, initial_noise(model, (64, 64), 3)
    pipe.scheduler = make_scheduler(model, "ddim", 2)
    arguments: dict[str, Any] = {
        "num_inference_steps": 2,
        "guidance_scale": settings.guidance_scale,
        "latents": noise,
        "height": 64,
    }
    arguments |= {"width": 64, "output_type": "np"}
    with record_source(pipe.unet, masa_layer=8) as recorded:
        expected = [pipe(SOURCE, **arguments).images[0]]
    for prompt in (FROG, CAT):
        with use_source(pipe.unet, recorded, masa_step=1, masa_layer=8):
            expected.append(pipe(prompt, **arguments).images[0])
    for path, picture in zip((source, *targets), expected, strict=True):
        assert np.abs(read_png(path) / 255 - picture).max() < 1.5 / 255
    assert difference(*targets) > 0


def test_pictures_tell_what_made_them(still: Made, models: Models, tmp_path: Path) -> None:
    settings = still(source_prompt=SOURCE, prompts=[FROG, CAT], seeds=[3, 4])
    made = synthesize(settings, tmp_path / "out", model=models(settings))
    assert [[path.name for path in row] for row in made] == [
        [f"{name}-seed{seed}.png" for name in ("source", "target-1", "target-2")] for seed in (3, 4)
    ]
    assert difference(made[0][0], made[1][0]) > 0
    for seed, row in zip((3, 4), made, strict=True):
        for prompt, path in zip((SOURCE, FROG, CAT), row, strict=True):
            text = read_png_text(path)
            assert text["parameters"].startswith(f"{prompt}\n")
            assert f"Seed: {seed}," in text["parameters"]
    alone = resolve_stills(json.loads(read_png_text(made[1][2])["masactrl-video"]), {})
    ((_, again),) = synthesize(alone, tmp_path / "again", model=models(settings))
    assert difference(again, made[1][2]) == 0
    sheet = read_png(tmp_path / "out" / "sheet.png")
    assert sheet.shape[0] > 2 * 64
    assert sheet.shape[1] > 3 * 64


@pytest.mark.long
def test_each_target_stands_under_its_own_guidance_picture(
    still: Made, models: Models, edges: list[Path], tmp_path: Path
) -> None:
    def made(name: str, **changes: Any) -> list[Path]:
        settings = still(source_prompt=SOURCE, prompts=[FROG], **changes)
        (row,) = synthesize(settings, tmp_path / name, model=models(settings))
        return row

    none = made("none")
    both = made("both", source_guidance={"canny": edges[0]}, target_guidance={"canny": edges})
    other = made("other", source_guidance={"canny": edges[1]}, target_guidance={"canny": edges[:1]})
    free = made("free", target_guidance={"canny": edges[:1]})
    assert len(both) == 3
    assert difference(both[1], both[2]) > 0
    assert difference(both[0], other[0]) > 0
    assert difference(free[0], none[0]) == 0, "a source without a picture is made without guidance"
    assert difference(free[1], none[1]) > 0


def pictures_and_settings(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.iterdir() if path.name not in ("log.txt", "report.json")}


def test_an_interrupted_run_goes_on_and_a_finished_one_is_not_overwritten(
    still: Made, models: Models, tmp_path: Path
) -> None:
    settings, folder = still(source_prompt=SOURCE, prompts=[FROG, CAT]), tmp_path / "out"
    ((_, first, second),) = synthesize(settings, folder, model=models(settings))
    before = pictures_and_settings(folder)
    with pytest.raises(UserError, match=r"sheet\.png exists; give another output, or --overwrite"):
        synthesize(settings, folder, model=models(settings))
    for path in (second, folder / "sheet.png"):
        path.unlink()
    kept = first.stat().st_mtime_ns
    with pytest.raises(UserError, match="a run with other settings: seeds: "):
        synthesize(settings.model_copy(update={"seeds": [9]}), folder, model=models(settings))
    synthesize(settings, folder, model=models(settings))
    assert first.stat().st_mtime_ns == kept
    assert pictures_and_settings(folder) == before
    assert (folder / "log.txt").read_text().count("--- done") == 2
    (folder / "mine.txt").write_text("mine")
    anew = still(source_prompt=SOURCE, prompts=[FROG])
    synthesize(anew, folder, overwrite=True, model=models(anew))
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.yaml", "log.txt", "report.json", "mine.txt", "sheet.png", "source.png", "target-1.png"}


def test_a_word_that_is_not_in_a_later_prompt_leaves_nothing(still: Made, models: Models, tmp_path: Path) -> None:
    settings = still(source_prompt=SOURCE, prompts=[SOURCE, CAT], attention_mode="masked", mask_words=["bear"])
    with pytest.raises(UserError, match="'bear' is not in the prompt"):
        synthesize(settings, tmp_path / "out", model=models(settings))
    assert list(tmp_path.iterdir()) == []


def test_masks_by_words_change_a_target(still: Made, models: Models, tmp_path: Path) -> None:
    plain = still(source_prompt=SOURCE, prompts=[FROG], masa_step=0, masa_layer=10)
    masked = plain.model_copy(
        update={
            "attention_mode": "masked",
            "mask_words": ["frog"],
            "source_mask_words": ["bear"],
            "mask_threshold": 0.5,
        }
    )
    pictures = [
        synthesize(settings, tmp_path / str(number), model=models(plain))[0]
        for number, settings in enumerate((plain, masked))
    ]
    assert difference(pictures[0][0], pictures[1][0]) == 0
    assert difference(pictures[0][1], pictures[1][1]) > 0


def test_a_given_picture_of_any_shape_is_reconstructed_and_changed(
    still: Made, models: Models, photo: Path, tmp_path: Path
) -> None:
    settings = still(source_image=photo, prompts=[FROG], width=None, height=None)
    model = models(settings)
    source, target = edit(settings, tmp_path / "out", model=model)
    picture = read_png(source)
    height, width = picture.shape[:2]
    assert (height % model.size_factor, width % model.size_factor) == (0, 0)
    assert width / height == pytest.approx(1.5, rel=0.1)
    fitted = still(source_image=photo, width=96, height=64, prompts=[FROG])
    same, _ = edit(fitted, tmp_path / "fitted", model=model)
    import cv2

    resized = cv2.resize(read_png(photo), (96, 64), interpolation=cv2.INTER_LINEAR)
    expected = decode_latents(model, encode_picture(model, resized))[0]
    assert np.abs(read_png(same).astype(int) - expected).mean() < 2
    assert difference(source, target) > 0


@pytest.mark.long
def test_the_ways_of_inverting_are_others(still: Made, models: Models, photo: Path, tmp_path: Path) -> None:
    ways: dict[str, dict[str, Any]] = {
        "replayed": {},
        "free": {"replay": False},
        "refined": {"replay": False, "inversion_iterations": 3},
        "target": {"invert_with": "target"},
    }
    sources, targets = {}, {}
    for name, way in ways.items():
        settings = still(source_image=photo, prompts=[FROG], **way)
        sources[name], targets[name] = edit(settings, tmp_path / name, model=models(settings))
    assert difference(sources["replayed"], sources["target"]) <= 1
    assert len({read_png(path).tobytes() for name, path in sources.items() if name != "target"}) == 3
    assert len({read_png(path).tobytes() for path in targets.values()}) == 4


def test_one_recording_serves_all_cells_and_each_is_as_if_made_alone(
    still: Made, models: Models, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    settings = still(source_prompt=SOURCE, prompts=[FROG], cache_dir=cache)
    model, grid = models(settings), {"rows": "masa_step=0,1", "columns": "masa_layer=4,10,16"}
    cells = sweep(settings.model_copy(update=grid), tmp_path / "grid", model=model)
    assert len(list_entries(cache)) == 1
    places = [(cell.settings.masa_step, cell.settings.masa_layer) for cell in cells]
    assert places == [(step, layer) for step in (0, 1) for layer in (4, 10, 16)]
    assert cells[4].values == {"masa_step": "1", "masa_layer": "10"}
    for number in (0, 4):
        alone = still(source_prompt=SOURCE, prompts=[FROG], masa_step=places[number][0], masa_layer=places[number][1])
        ((source, target),) = synthesize(alone, tmp_path / f"alone{number}", model=model)
        assert difference(target, cells[number].path) == 0
        assert difference(source, cells[number].source_path) == 0
    assert difference(cells[0].path, cells[4].path) > 0
    assert difference(cells[2].path, cells[5].path) == 0, "no layer, no source: S says nothing"
    sheet = read_png(tmp_path / "grid" / "sheet.png")
    assert sheet.shape[1] > 4 * 64, "the source and three columns"


def test_any_two_settings_span_a_grid_and_sources_that_differ_are_told_apart(
    still: Made, models: Models, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    settings = still(
        source_prompt=SOURCE,
        prompts=[SOURCE],
        attention_mode="masked",
        mask_words=["bear"],
        masa_layer=10,
        masa_step=0,
        cache_dir=cache,
        rows="attention_mode=source,masked",
        columns="seed=1,2",
    )
    cells = sweep(settings, tmp_path / "grid", model=models(settings))
    assert len(list_entries(cache)) == 2, "one for each seed, with the masks of the masked cells"
    assert [cell.source_path.name for cell in cells] == ["source-1.png", "source-2.png"] * 2
    assert len({read_png(cell.path).tobytes() for cell in cells}) == 4


@pytest.mark.long
def test_weights_of_the_guidance_can_be_swept(still: Made, models: Models, edges: list[Path], tmp_path: Path) -> None:
    settings = still(
        source_prompt=SOURCE,
        prompts=[FROG],
        target_guidance={"canny": edges[:1]},
        columns="controlnet_conditioning_scale=0,1",
    )
    cells = sweep(settings, tmp_path / "grid", model=models(settings))
    free = still(source_prompt=SOURCE, prompts=[FROG])
    ((_, target),) = synthesize(free, tmp_path / "free", model=models(free))
    assert difference(cells[0].path, target) == 0
    assert difference(cells[1].path, target) > 0


@pytest.mark.long
def test_methods_differ_and_the_fixed_seed_is_the_plain_picture(still: Made, models: Models, tmp_path: Path) -> None:
    settings = still(source_prompt=SOURCE, prompts=[FROG, CAT], masa_step=0, num_inference_steps=4)
    made = compare(settings, tmp_path / "out", model=models(settings))
    assert list(made) == ["source", *METHODS]
    assert len({read_png(made[name][0]).tobytes() for name in made}) == 6
    assert read_png_text(made["sdedit"][1])["method"] == "SDEdit"
    plain = still(source_prompt=FROG, prompts=[FROG], num_inference_steps=4)
    ((picture, _),) = synthesize(plain, tmp_path / "plain", model=models(settings))
    assert difference(made["fixed-seed"][0], picture) == 0
    ours = still(source_prompt=SOURCE, prompts=[FROG], masa_step=0, num_inference_steps=4)
    ((_, target),) = synthesize(ours, tmp_path / "ours", model=models(settings))
    assert difference(made["masactrl"][0], target) == 0


@pytest.mark.long
def test_methods_are_compared_on_a_given_picture_under_guidance_with_one_inversion(
    still: Made, models: Models, photo: Path, edges: list[Path], tmp_path: Path
) -> None:
    settings = still(source_image=photo, prompts=[FROG], target_guidance={"canny": edges[:1]}, num_inference_steps=4)
    model = models(settings)
    unguided: list[int] = []
    handle = model.unet.register_forward_pre_hook(lambda _, arguments: unguided.append(arguments[0].shape[0]))
    try:
        made = compare(settings, tmp_path / "out", model=model)
    finally:
        handle.remove()
    assert len({read_png(made[name][0]).tobytes() for name in made}) == 6
    assert unguided.count(1) == 4 * (2 + 3), (
        "inverted for the record and for the rest; recorded once, walked beside twice"
    )


def test_a_method_that_cannot_be_done_is_said_before_anything_is_made(
    still: Made, models: Models, tmp_path: Path
) -> None:
    settings = still(source_prompt=SOURCE, prompts=[FROG], sdedit_strength=0.2)
    with pytest.raises(UserError, match="sdedit_strength"):
        compare(settings, tmp_path / "out", model=models(settings))
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_overflow_are_no_picture(still: Made, models: Models, tmp_path: Path) -> None:
    settings = still(source_prompt=SOURCE, prompts=[FROG])
    model = models(settings)
    broken = replace(model)
    handle = broken.unet.register_forward_hook(lambda _, __, out: (torch.full_like(out[0], torch.nan),))
    try:
        with pytest.raises(UserError, match="not finite"):
            compare(settings.model_copy(update={"cache_dir": tmp_path / "cache"}), tmp_path / "out", model=broken)
    finally:
        handle.remove()
