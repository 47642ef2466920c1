"""A model, and how it makes pictures."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from masactrl_video.settings.fields import DENOISE, MAKE, OPEN_MODELS, RECORD, SPRITES, STILLS, VIDEOS, Part, option
from masactrl_video.settings.home import MAY_BE_AT_HOME, OwnName
from masactrl_video.settings.inactive import INVERTED_NOISE, NO_NEGATIVE, NO_UNCONDITIONAL
from masactrl_video.settings.names import DtypeName, NoiseKind, OffloadKind, PredictionType, SchedulerName

_weights = partial(option, "model", changes="source", commands=OPEN_MODELS, fixed_by_character=True)
_loaded = partial(option, "model", changes="source", commands=OPEN_MODELS)
_sampled = partial(option, "prompt", changes="source", commands=DENOISE, sweepable=True)


class ModelSettings(Part):
    """Which model, and how it is held."""

    model: Annotated[str, MAY_BE_AT_HOME] = _weights(
        "hub id, diffusers folder, or one .safetensors file; `demo` ships with the package"
    )
    revision: str | None = _weights("branch, tag or commit on the hub", None)
    variant: str | None = _weights("variant of the weight files, e.g. fp16", None)
    single_file_config: OwnName = _loaded(
        "for a .safetensors file: hub id or folder with its configuration and tokenizer", None
    )
    dtype: DtypeName | None = _loaded("number format (float16 on a GPU, float32 elsewhere, if not given)", None)
    device: str | None = _loaded("cuda, mps or cpu (the first that there is, if not given)", None, keeps_panels=True)
    offload: OffloadKind | None = _loaded(
        "for a small GPU: weights wait in the CPU's memory. model: text encoders, UNet or transformer with guidance "
        "networks, and VAE come one after the other; sequential: layer by layer, much slower",
        None,
        changes="speed",
        keeps_panels=True,
    )
    lora: Annotated[dict[str, float], MAY_BE_AT_HOME] = _weights(
        "LoRA files, FILE=SCALE (1 if not given)", {}, commands=DENOISE
    )
    prediction_type: PredictionType | None = _weights(
        "what the model predicts, where its files do not say it, or wrongly: epsilon (most), v_prediction (SD-2.x of "
        "768 px, models called vpred) or sample",
        None,
    )
    scheduler: SchedulerName = _weights(
        "sampler; ddim as in the paper; flows go by their own, flow",
        "ddim",
        commands=DENOISE - {"edit"},
        sweepable=True,
    )


class SamplingSettings(Part):
    """From noise to a picture."""

    prompt: str = _sampled("what the frames show", "", commands=VIDEOS | RECORD | MAKE | SPRITES, keeps_panels=True)
    negative_prompt: str = _sampled("what they should not show", "", inactive=(NO_NEGATIVE,))
    num_inference_steps: int = _sampled("denoising steps", 50, fixed_by_character=True, ge=1)
    guidance_scale: float = _sampled("classifier-free guidance; 1 or less: none", 7.5, ge=0)
    true_cfg_scale: float = _sampled(
        "FLUX.1 dev: real guidance by the negative prompt, beside guidance_scale, which it reads itself; 1: none",
        1.0,
        ge=1,
    )
    cfg_normalization: float = _sampled(
        "Z-Image: the guided prediction is at most so many times as long as that of the prompt, as in diffusers' "
        "pipeline; 0: as long as it comes",
        0.0,
        inactive=(NO_UNCONDITIONAL,),
        ge=0,
    )
    cfg_truncation: float = _sampled(
        "Z-Image: no guidance from this part of the way from noise to picture on, as in diffusers' pipeline; 1: all "
        "the way",
        1.0,
        inactive=(NO_UNCONDITIONAL,),
        ge=0,
        le=1,
    )
    seed: int = _sampled(
        "of the initial noise", 0, commands=DENOISE - STILLS, inactive=(INVERTED_NOISE,), ge=0, lt=2**32
    )
    noise: NoiseKind = option(
        "prompt",
        "initial noise: the source's for all frames (shared), another for each (per-frame), or the source's moved with "
        "the bodies from the source's frame to each (body): needs poses",
        "shared",
        changes="frames",
        commands=VIDEOS,
    )

    @property
    def guided(self) -> bool:
        """Whether classifier-free guidance is on, or the guidance that a model reads itself."""
        return self.guidance_scale > 1 or self.true_cfg_scale > 1

    @property
    def branch_scale(self) -> float:
        """By how much the prediction goes away from the unconditional one, where there is such a one."""
        return self.true_cfg_scale if self.true_cfg_scale > 1 else self.guidance_scale
