"""diffusers custom pipeline: a source image and targets that look like it, by mutual self-attention (MasaCtrl).

```python
pipe = DiffusionPipeline.from_pretrained(model, custom_pipeline="./pipelines/masactrl", trust_remote_code=True)
source, target = pipe("a bear waving", "a bear sitting", generator=torch.Generator().manual_seed(0)).images
```
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import StableDiffusionPipeline

from masactrl_video.render.with_pipeline import source_and_targets
from masactrl_video.settings.modes import Mode


class MasaCtrlPipeline(StableDiffusionPipeline):
    """`StableDiffusionPipeline` whose call makes a source and one or more targets (MasaCtrl, Sec. 4)."""

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        source_prompt: str,
        *,
        masa_step: int = 4,
        masa_layer: int = 10,
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
        512x512 in float16, 50 steps, from layer 10 on: 2.4 GB).

        Args:
            prompt: of the target, or of several.
            masa_step: S; the source is used from this denoising step on, counted from 0.
            masa_layer: L; and from this self-attention layer on, counted from 0 in forward order.
            attention_mode: `source` (Eq. 5), `union` (own keys too) or `masked` (Eq. 6-8).
            mask_words: masked mode: words of the object as they stand in every prompt.
            source_mask_words: its words in the source's prompt, if others.
            generator: every image draws the same noise from it, also at the steps of a stochastic scheduler.
            kwargs: of `StableDiffusionPipeline.__call__`, the same for all images.

        Returns:
            The output of `StableDiffusionPipeline`, its images in the order source, targets.

        Raises:
            UserError: steps, layers, words or a mode that do not exist.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        return source_and_targets(
            self,
            super().__call__,
            (source_prompt,),
            [(text,) for text in prompts],
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
