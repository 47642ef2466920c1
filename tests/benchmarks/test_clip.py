"""What the benchmarks compare is the same work."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch

from masactrl_video.attention.plan import plan_control
from masactrl_video.model.backbones.unet.controls import GuidanceNetwork
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt
from masactrl_video.render.frames import denoise_chunk


def made_clip(layout: str, dtype: torch.dtype = torch.float32) -> Any:
    """Two frames, one under a black picture and one under a white one."""
    from clip import Clip

    pipe = tiny_models.sd1_pipeline() if layout == "sd1" else tiny_models.sdxl_pipeline()
    controlnet = tiny_models.controlnet(pipe.unet)
    controlnet.controlnet_cond_embedding.conv_out.weight.data *= 1000  # so narrow a network hardly sees its picture
    for part in (pipe.unet, pipe.vae, pipe.text_encoder, getattr(pipe, "text_encoder_2", None), controlnet):
        if part is not None:
            part.to(dtype)
    model = DiffusionModel(pipe, (GuidanceNetwork("pose", controlnet, scale=1.5),))
    text = encode_prompt(model, "a bear", "", 7.5, (64, 96))
    black_and_white = np.stack([np.full((64, 96, 3), level, np.uint8) for level in (0, 255)])
    return Clip(model, text, black_and_white, num_inference_steps=3)


@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
def test_without_control_our_frames_are_those_of_diffusers(tmp_path: Path, layout: str) -> None:
    clip = made_clip(layout)
    plan = plan_control(clip.model.unet, 3, masa_step=3)
    job = clip.job(clip.record(tmp_path, plan), plan)
    with job.controlled() as control:
        (latents,) = denoise_chunk(job, control, [[0, 1]])
    plain = clip.plain(output_type="latent")([0, 1])
    torch.testing.assert_close(latents, plain, atol=1e-4, rtol=0)
    assert (plain[0] - plain[1]).abs().max() > 2e-3, "the guidance has no influence: this proves nothing"


@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
def test_the_official_way_gives_our_source_and_our_frame(tmp_path: Path, layout: str) -> None:
    from frames_by import ours, recomputed

    clip = made_clip(layout, torch.float64)  # hardly a frame differs from the source: that needs digits
    plan = plan_control(clip.model.unet, 3, masa_step=1, masa_layer=1)
    source = clip.record(tmp_path, plan)
    both = recomputed(clip, plan, 1, output_type="latent")()
    frame = ours(clip.job(source, plan), [1], decode=False)()
    influence = (frame - clip.plain(output_type="latent")([1])).abs().max()
    assert influence > 1e-9
    assert (both[:1] - source.latents).abs().max() < 1e-3 * influence
    assert (both[1:] - frame).abs().max() < 1e-3 * influence
