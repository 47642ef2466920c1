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
from typing import Any

import torch
from diffusers import StableDiffusionControlNetPipeline

from masactrl_video.errors import UserError
from masactrl_video.render.with_pipeline import source_and_targets
from masactrl_video.settings.modes import Mode


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
        512x512 in float16, 50 steps, from layer 8 on: 2.6 GB).

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
        return source_and_targets(
            self,
            super().__call__,
            (source_prompt, source_control_image),
            list(zip(prompts, image, strict=True)),
            masa_step=masa_step,
            masa_layer=masa_layer,
            attention_mode=attention_mode,
            mask_words=mask_words,
            source_mask_words=source_mask_words,
            guidance_scale=guidance_scale,
            generator=generator,
            return_dict=return_dict,
            **kwargs,
        )
