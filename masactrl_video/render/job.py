"""From settings, a model and a recorded source to what rendering a frame needs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt, find_words
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.render.frames import FramesJob
from masactrl_video.settings.model_parts import SamplingSettings
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.plan import read_mask
from masactrl_video.storage.fingerprint import hash_bytes, hash_module, hash_tensor
from masactrl_video.video.frame import Pictures


def shared_noise(
    settings: SamplingSettings, model: DiffusionModel, source: CachedSource, size_px: tuple[int, int]
) -> torch.Tensor:
    """Initial noise (1, channels, height, width) of pictures of (height, width) px.

    It is the source's own (MasaCtrl, Sec. 5), or where a saved character has another size, noise of the seed.
    """
    noise = source.initial_noise
    own = tuple(noise.shape[-2:]) == model.latent_size(*size_px)
    return noise if own else initial_noise(model, size_px, settings.seed)


def frames_job(
    settings: Settings,
    model: DiffusionModel,
    size_px: tuple[int, int],
    guidance: Sequence[Pictures],
    scheduler: Schedule,
    plan: ControlPlan,
    source: CachedSource,
    target_masks: Pictures | None = None,
) -> FramesJob:
    """Everything that rendering a frame against the recorded source needs besides its number.

    Raises:
        UserError: words of the masked mode that are not in the prompt, or a mask that cannot be used.
    """
    condition = encode_prompt(model, settings.prompt, settings.negative_prompt, settings.guidance_scale, size_px)
    return FramesJob(
        denoising=Denoising(
            model,
            condition,
            settings.guidance_scale,
            settings.seed,
            settings.unguided_steps,
            settings.reuse_deep_features or 1,
        ),
        scheduler=scheduler,
        source=source,
        source_noise=shared_noise(settings, model, source, size_px),
        plan=plan,
        guidance=guidance,
        masks=_mask_rule(settings, model, size_px),
        target_masks=target_masks,
        noise=settings.noise,
    )


def made_from(model: DiffusionModel, condition: TextCondition, guidance: Sequence[str], source: CachedSource) -> str:
    """Names the content of what the settings only name by path.

    Args:
        guidance: a key of each guidance's, and each given mask's, content.
    """
    keys = [source.entry.folder.name, *guidance, hash_module(model.decoder), hash_tensor(condition.hidden_states)]
    if source.entry.index.determined_by["source"] == "real":  # made without the networks, which its name leaves out
        keys += [hash_module(network.module) for network in model.networks]
    return hash_bytes("\n".join(keys).encode())


def _mask_rule(settings: Settings, model: DiffusionModel, size_px: tuple[int, int]) -> MaskRule | None:
    if not settings.masked:
        return None
    source_mask = None
    if settings.source_mask is not None:
        source_mask = read_mask(settings, settings.source_mask, size_px).to(model.device)
    by_words = settings.target_masks is None
    tokens = find_words(model.tokenizer, settings.prompt, settings.mask_words) if by_words else ()
    return MaskRule(tokens, settings.mask_threshold, source_mask)
