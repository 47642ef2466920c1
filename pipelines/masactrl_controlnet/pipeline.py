"""diffusers custom pipeline: MasaCtrl under ControlNet, source and targets each with their own control image.

```python
pipe = DiffusionPipeline.from_pretrained(
    model, controlnet=controlnet, custom_pipeline="./pipelines/masactrl_controlnet", trust_remote_code=True
)
source, *frames = pipe(
    "a bear waving", "a bear sitting", image=poses, source_control_image=sitting, generator=generator
).images
```
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch
from diffusers import StableDiffusionControlNetPipeline
from diffusers.pipelines.stable_diffusion import StableDiffusionPipelineOutput

from masactrl_video.attention.branches import GUIDED, UNGUIDED
from masactrl_video.attention.control import MaskRule
from masactrl_video.attention.record import record_source
from masactrl_video.attention.use import use_source
from masactrl_video.errors import UserError
from masactrl_video.model.text import find_words
from masactrl_video.settings.names import Mode


class MasaCtrlControlNetPipeline(StableDiffusionControlNetPipeline):
    """`StableDiffusionControlNetPipeline` whose call makes a source and one or more targets (MasaCtrl, Sec. 5.2)."""

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        source_prompt: str,
        image: Sequence[Any],
        source_control_image: Any,
        *,
        masa_step: int = 2,
        masa_layer: int = 8,
        attention_mode: Mode = "source",
        mask_words: Sequence[str] = (),
        source_mask_words: Sequence[str] | None = None,
        guidance_scale: float = 7.5,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Make the source, record it, and make every target against it, all from the same initial noise.

        The targets are made one after the other. Keys and values of the source stay in memory meanwhile (SD-1.5 at
        512x512 in float16, 50 steps, from layer 8 on: 2.9 GB).

        Args:
            prompt: one for all targets, or one for each.
            image: control images of the targets, one for each; with several ControlNets each is a list.
            source_control_image: control image of the source; with several ControlNets a list.
            masa_step: S; the source is used from this denoising step on, counted from 0.
            masa_layer: L; and from this self-attention layer on, counted from 0 in forward order.
            attention_mode: `source` (Eq. 5), `union` (own keys too) or `masked` (Eq. 6-8).
            mask_words: masked mode: words of the object as they stand in every prompt.
            source_mask_words: its words in the source's prompt, if others.
            generator: every image draws the same noise from it, also at the steps of a stochastic scheduler.
            kwargs: of `StableDiffusionControlNetPipeline.__call__`, the same for all images.

        Returns:
            The output of `StableDiffusionControlNetPipeline`, its images in the order source, targets.

        Raises:
            UserError: steps, layers, words or a mode that do not exist, or prompts that do not match the images.
        """
        if not isinstance(image, (list, tuple)):
            raise UserError(f"image: got {type(image).__name__}; give a list with a control image for each target")
        prompts = [prompt] * len(image) if isinstance(prompt, str) else list(prompt)
        if len(prompts) != len(image):
            raise UserError(f"prompt: got {len(prompts)} for {len(image)} control images; give one, or one for each")
        if attention_mode not in get_args(Mode):
            raise UserError(f"attention_mode: got {attention_mode!r}; give {', '.join(get_args(Mode))}")
        masked = attention_mode == "masked"
        if masked != bool(mask_words):
            raise UserError("mask_words: give the words of the object in attention_mode masked, and only there")
        source_words = find_words(self.tokenizer, source_prompt, source_mask_words or mask_words) if masked else ()
        rules = [MaskRule(find_words(self.tokenizer, text, mask_words)) if masked else None for text in prompts]
        branches = GUIDED if guidance_scale > 1 and self.unet.config.time_cond_proj_dim is None else UNGUIDED
        generator = generator or torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        start, plain_call = generator.get_state(), super().__call__

        def make(text: str, control_image: Any) -> Any:
            generator.set_state(start)
            return plain_call(text, control_image, guidance_scale=guidance_scale, generator=generator, **kwargs)

        with record_source(self.unet, masa_layer=masa_layer, branches=branches, object_tokens=source_words) as source:
            made = [make(source_prompt, source_control_image)]
        for text, control_image, masks in zip(prompts, image, rules, strict=True):
            with use_source(
                self.unet,
                source,
                masa_step=masa_step,
                masa_layer=masa_layer,
                mode=attention_mode,
                branches=branches,
                masks=masks,
            ):
                made.append(make(text, control_image))
        return _joined(made, return_dict)


def _joined(outputs: Sequence[StableDiffusionPipelineOutput], return_dict: bool) -> Any:
    """One output of several, whatever the type of the images."""
    images: Any = [image for output in outputs for image in output.images]
    if isinstance(images[0], torch.Tensor):
        images = torch.stack(images)
    elif isinstance(images[0], np.ndarray):
        images = np.stack(images)
    flags = [flag for output in outputs for flag in output.nsfw_content_detected or ()] or None
    return StableDiffusionPipelineOutput(images, flags) if return_dict else (images, flags)
