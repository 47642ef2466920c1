"""Where nothing is controlled, frames are those of a plain diffusers call."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import StableDiffusionControlNetPipeline
from PIL import Image

from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.settings.settings import Settings
from masactrl_video.video.png import read_png


@pytest.mark.parametrize("scheduler", ["ddim", "euler"])
def test_control_at_no_step_is_a_plain_call(
    render: Callable[..., Outputs],
    demo: Callable[..., Settings],
    models: Callable[..., Any],
    tmp_path: Path,
    scheduler: str,
) -> None:
    changes = {"masa_steps": [], "scheduler": scheduler, "seed": 5, "negative_prompt": "a cat", "batch_size": 1}
    outputs = render(tmp_path / "out.mp4", **changes)
    settings = demo(**changes)
    model = models(settings)
    parts = {**model.pipe.components, "scheduler": make_scheduler(model, scheduler, 2)}
    pipe = StableDiffusionControlNetPipeline(**parts, controlnet=model.networks[0].module)
    pipe.set_progress_bar_config(disable=True)
    for index, path in enumerate(outputs.frames(2)):
        made = pipe(
            settings.prompt,
            negative_prompt="a cat",
            image=Image.open(outputs.guidance("canny") / f"{index:06d}.png"),
            latents=initial_noise(model, (128, 128), 5),
            num_inference_steps=2,
            guidance_scale=settings.guidance_scale,
            output_type="np",
        ).images[0]
        assert np.abs(np.round(made * 255) - read_png(path)).max() <= 1
