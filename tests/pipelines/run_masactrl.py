"""Run by test_masactrl.py in a process of its own: two directory pipelines in one process would collide.

Arguments: model folder, file for the results (.npz).
"""

import sys

import numpy as np
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.record import record_source
from masactrl_video.attention.use import use_source
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.branches import GUIDED, UNGUIDED
from masactrl_video.model.prompts import find_words

SOURCE, TARGETS, STEPS = "a bear in the meadow", ["a panda in the snow", "the panda"], 3
MODEL, RESULTS = sys.argv[1:]

pipe = DiffusionPipeline.from_pretrained(MODEL, custom_pipeline="./pipelines/masactrl", trust_remote_code=True)
plain = StableDiffusionPipeline.from_pretrained(MODEL, safety_checker=None)
for each in (pipe, plain):
    each.set_progress_bar_config(disable=True)
before = dict(pipe.unet.attn_processors)
latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
common = {"num_inference_steps": STEPS, "latents": latents, "height": 64, "width": 64, "output_type": "np"}


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def by_hand(scale: float = 7.5, mode: str = "source") -> np.ndarray:
    branches = GUIDED if scale > 1 else UNGUIDED
    masked = mode == "masked"
    words = find_words(plain.tokenizer, SOURCE, ["bear"]) if masked else ()
    with record_source(plain.unet, branches=branches, object_tokens=words) as source:
        images = [plain(SOURCE, guidance_scale=scale, **common).images]
    for target in TARGETS:
        masks = MaskRule(find_words(plain.tokenizer, target, ["panda"])) if masked else None
        with use_source(plain.unet, source, masa_step=1, mode=mode, branches=branches, masks=masks):
            images.append(plain(target, guidance_scale=scale, **common).images)
    return np.concatenate(images)


results = {
    "guided": pipe(TARGETS, SOURCE, masa_step=1, **common).images,
    "guided by hand": by_hand(),
    "unguided": pipe(TARGETS, SOURCE, masa_step=1, guidance_scale=1.0, **common).images,
    "unguided by hand": by_hand(1.0),
    "masked": pipe(
        TARGETS,
        SOURCE,
        masa_step=1,
        attention_mode="masked",
        mask_words=["panda"],
        source_mask_words=["bear"],
        **common,
    ).images,
    "masked by hand": by_hand(mode="masked"),
}
free = {**common, "latents": None, "eta": 1.0}  # noise from the generator, at the start and at every step
results["itself"] = pipe(SOURCE, SOURCE, masa_step=0, masa_layer=0, generator=seeded(), **free).images
results["plain"] = np.concatenate([plain(SOURCE, generator=seeded(), **free).images] * 2)
torch.manual_seed(3)
results["global seed"] = pipe(TARGETS[0], SOURCE, masa_step=1, **free).images
torch.manual_seed(3)
results["global seed again"] = pipe(TARGETS[0], SOURCE, masa_step=1, **free).images
pil, flags = pipe(TARGETS[0], SOURCE, masa_step=1, return_dict=False, **{**common, "output_type": "pil"})
results["pil"] = np.stack([np.asarray(image) for image in pil])
results["no flags"] = np.array(flags is None)


def message(**wrong: object) -> str:
    try:
        pipe(TARGETS[0], SOURCE, **{"masa_step": 1, **common, **wrong})
    except UserError as error:
        return str(error)
    return "no error"


def fail(*_: object) -> dict[str, object]:
    raise RuntimeError("in the middle of a step")


try:
    pipe(TARGETS[0], SOURCE, masa_step=1, callback_on_step_end=fail, **common)
except RuntimeError as error:
    results["raised"] = np.array(str(error))
results["no control"] = np.array(message(masa_step=STEPS))
results["bad mode"] = np.array(message(attention_mode="soft"))
results["words without masks"] = np.array(message(mask_words=["bear"]))
results["masks without words"] = np.array(message(attention_mode="masked"))
results["word not in prompt"] = np.array(message(attention_mode="masked", mask_words=["bear"]))
results["restored"] = np.array(pipe.unet.attn_processors == before and not pipe.unet._forward_pre_hooks)
np.savez(RESULTS, **results)
