"""What the benchmarks compare is the same work."""

from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch

from masactrl_video.attention.plan import plan_control
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.guidance_network import GuidanceNetwork
from masactrl_video.model.text import encode_prompt
from masactrl_video.render.frames import denoise_chunk


@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
def test_without_control_our_frames_are_those_of_diffusers(tmp_path: Path, layout: str) -> None:
    from clip import Clip

    pipe = tiny_models.sd1_pipeline() if layout == "sd1" else tiny_models.sdxl_pipeline()
    controlnet = tiny_models.controlnet(pipe.unet)
    controlnet.controlnet_cond_embedding.conv_out.weight.data *= 1000  # so narrow a network hardly sees its picture
    model = DiffusionModel(pipe, (GuidanceNetwork("pose", controlnet, scale=1.5),))
    text = encode_prompt(model, "a bear", "", True, (64, 96))
    black_and_white = np.stack([np.full((64, 96, 3), level, np.uint8) for level in (0, 255)])
    clip = Clip(model, text, black_and_white, num_inference_steps=3)
    plan = plan_control(pipe.unet, 3, masa_step=3)
    job = clip.job(clip.record(tmp_path, plan), plan)
    with job.controlled() as control:
        (latents,) = denoise_chunk(job, control, [[0, 1]])
    plain = clip.plain(output_type="latent")([0, 1])
    torch.testing.assert_close(latents, plain, atol=1e-4, rtol=0)
    assert (plain[0] - plain[1]).abs().max() > 2e-3, "the guidance has no influence: this proves nothing"
