"""Wan on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from diffusers import AutoencoderKLWan, DiffusionPipeline, WanPipeline, WanTransformer3DModel
from transformers import UMT5EncoderModel

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.joint.files import FLOW_SCHEDULER, FlowFiles, width
from masactrl_video.model.backbones.wan.attention import TITLE, all_layers
from masactrl_video.settings.names import PredictionType

UNIPC_SCHEDULER = "UniPCMultistepScheduler"
_SECOND = "transformer_2"


class WanFiles(FlowFiles):
    """The `ModelFiles` of Wan."""

    title = TITLE
    kind = WanPipeline
    parts: ClassVar[Mapping[str, tuple[type[torch.nn.Module], ...]]] = {
        "transformer": (WanTransformer3DModel,),
        "vae": (AutoencoderKLWan,),
        "text_encoder": (UMT5EncoderModel,),
    }
    files: ClassVar[Mapping[str, Sequence[str]]] = {
        "tokenizer": ("spiece.model", "tokenizer.json"),
        "scheduler": ("scheduler_config.json",),
    }

    def is_in(self, keys: Sequence[str]) -> bool:
        """By the names of its first block, in its authors' or diffusers' layout; not those that read a picture."""
        return "patch_embedding.weight" in keys and any(
            key.startswith(("blocks.0.self_attn.norm_q.", "blocks.0.attn1.norm_q.")) for key in keys
        )

    def networks_in(
        self, pipeline: type[DiffusionPipeline], index: Mapping[str, object]
    ) -> Mapping[str, type[torch.nn.Module]]:
        """See `TransformerFiles`.

        Raises:
            UserError: there are two transformers.
        """
        second = index.get(_SECOND)
        if isinstance(second, list) and any(second):
            raise _two_transformers()
        return super().networks_in(pipeline, index)

    def shared(self, pipe: WanPipeline) -> Mapping[str, tuple[object, object]]:
        """Latents, and what the text encoder gives."""
        config = pipe.transformer.config
        return {
            "in_channels": (config.in_channels, pipe.vae.config.z_dim),
            "text_dim": (config.text_dim, width(pipe.text_encoder)),
        }

    def check_scheduler(self, name: str, class_name: str) -> None:
        """Euler's on a flow, or UniPC."""
        if class_name not in (UNIPC_SCHEDULER, FLOW_SCHEDULER):
            raise UserError(
                f"model {name!r}: its scheduler is a {class_name}; {self.title} goes with a {UNIPC_SCHEDULER} or a "
                f"{FLOW_SCHEDULER}"
            )

    def complete(
        self, name: str, pipe: WanPipeline, file: Path | None, wanted: PredictionType | None, dtype: torch.dtype
    ) -> None:
        """Compare the parts."""
        if pipe.components.get(_SECOND) is not None:
            raise _two_transformers()
        all_layers(pipe.transformer)
        super().complete(name, pipe, file, wanted, dtype)


def _two_transformers() -> UserError:
    return UserError(
        f"this {TITLE} has two transformers, for high and for low noise (2.2 A14B), which is not supported; take one "
        "with a single transformer: 2.1, or 2.2 TI2V-5B"
    )
