"""Tiny clips, the demo model, and one render that many tests look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from video.made_clips import ffmpeg

from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.from_settings import with_networks
from masactrl_video.settings.presets import read_preset, resolve
from masactrl_video.settings.settings import Settings
from masactrl_video.video.png import read_png

Made = Callable[..., Settings]
Render = Callable[..., Outputs]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 frames of 48x48 at 10 frames/s, with a tone."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    picture = ("-f", "lavfi", "-i", "testsrc2=size=48x48:rate=10:duration=0.4")
    sound = ("-f", "lavfi", "-i", "sine=frequency=440:duration=0.4:sample_rate=48000")
    ffmpeg(*picture, *sound, "-pix_fmt", "yuv420p", "-c:a", "aac", path)
    return path


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def demo(clip: Path, cache_dir: Path) -> Made:
    """Settings of the preset demo with 2 steps, of which the second is controlled, for 2 frames of the clip."""
    short = {"clip": clip, "cache_dir": cache_dir, "num_inference_steps": 2, "masa_step": 1, "frame_load_cap": 2}
    short |= {"side_by_side": False}
    return lambda **changes: resolve({**read_preset("demo"), **short}, changes)


@pytest.fixture(scope="session")
def models(demo: Made) -> Callable[[Settings], DiffusionModel]:
    """The demo model, loaded once, with the networks that settings name, loaded once for each choice of them."""
    loaded: dict[str, DiffusionModel] = {}

    def load(settings: Settings) -> DiffusionModel:
        networks = str([settings.controls[name] for name in settings.guidance])
        if networks not in loaded:
            first = next(iter(loaded.values()), None)
            loaded[networks] = with_networks(settings, first)
        return loaded[networks]

    return load


@pytest.fixture(scope="session")
def render(demo: Made, models: Callable[[Settings], DiffusionModel]) -> Render:
    """Render with `demo(**changes)`, without loading the model again."""

    def run(output: Path, overwrite: bool = False, **changes: object) -> Outputs:
        settings = demo(**changes)
        return render_clip(settings, output, overwrite=overwrite, model=models(settings))

    return run


@pytest.fixture(scope="session")
def rendered(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    """All 4 frames, by edges, as a test may look at but not change."""
    return render(tmp_path_factory.mktemp("rendered") / "out.mp4", frame_load_cap=None, side_by_side=True)


@pytest.fixture(scope="session")
def frames_of() -> Callable[[Outputs], list[np.ndarray]]:
    return lambda outputs: [read_png(path) for path in sorted((outputs.folder / "frames").iterdir())]
