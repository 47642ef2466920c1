"""Run by test_masactrl_controlnet.py in a process of its own: two directory pipelines in one process would collide.

Arguments: model folder, ControlNet folder, file for the results (.npz).
"""

import sys

import numpy as np
import torch
from diffusers import ControlNetModel, DiffusionPipeline, StableDiffusionControlNetPipeline
from PIL import Image

from masactrl_video.attention.record import record_source
from masactrl_video.attention.use import use_source
from masactrl_video.errors import UserError

SOURCE, TARGET, STEPS = "a bear in the meadow", "a panda in the snow", 3
MODEL, CONTROLNET, RESULTS = sys.argv[1:]

controlnet = ControlNetModel.from_pretrained(CONTROLNET)
pipe = DiffusionPipeline.from_pretrained(
    MODEL, controlnet=controlnet, custom_pipeline="./pipelines/masactrl_controlnet", trust_remote_code=True
)
plain = StableDiffusionControlNetPipeline.from_pretrained(MODEL, controlnet=controlnet, safety_checker=None)
for each in (pipe, plain):
    each.set_progress_bar_config(disable=True)
before = dict(pipe.unet.attn_processors)
pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
source_control, *controls = [Image.fromarray(picture) for picture in pixels]
latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
common = {"num_inference_steps": STEPS, "latents": latents, "output_type": "latent"}


def by_hand() -> torch.Tensor:
    with record_source(plain.unet, masa_layer=8) as source:
        images = [plain(SOURCE, source_control, **common).images]
    with use_source(plain.unet, source, masa_step=0, masa_layer=8):
        images += [plain(TARGET, control, **common).images for control in controls]
    return torch.cat(images)


def message(image: object, prompt: object = TARGET, masa_step: int = 1) -> str:
    try:
        pipe(prompt, SOURCE, image, source_control, masa_step=masa_step, **common)
    except UserError as error:
        return str(error)
    return "no error"


results = {
    "pipeline": pipe(TARGET, SOURCE, controls, source_control, masa_step=0, **common).images,
    "by hand": by_hand(),
    "plain": torch.cat(
        [plain(SOURCE, source_control, **common).images]
        + [plain(TARGET, control, **common).images for control in controls]
    ),
    "no control": np.array(message(controls, masa_step=STEPS)),
    "one image": np.array(message(controls[0])),
    "too many prompts": np.array(message(controls, [TARGET] * 3)),
    "restored": np.array(pipe.unet.attn_processors == before and not pipe.unet._forward_pre_hooks),
}
np.savez(RESULTS, **results)
