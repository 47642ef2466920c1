"""A live source again, by its entry in the cache and the settings that it was made with."""

from __future__ import annotations

from collections.abc import Sequence

from masactrl_video.attention.recorded import SHARED
from masactrl_video.cache.store import CacheEntry
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_inverted, encode_prompt
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.identity import text_identity
from masactrl_video.sources.live import LiveSource
from masactrl_video.sources.source import unique_branches


def reopened(
    entry: CacheEntry,
    settings: Settings,
    model: DiffusionModel,
    size_px: tuple[int, int],
    scheduler: Schedule,
    layers: Sequence[AttentionLayer],
    steps: Sequence[int],
) -> LiveSource:
    """The live source of a run with one of its own, by the settings that it was made with, for whoever has its entry.

    Raises:
        UserError: its prompts are read otherwise here.
    """
    guided = (settings.guidance_scale, size_px, settings.true_cfg_scale)
    if settings.real_source:
        text = encode_inverted(model, settings.source_prompt or "", settings.negative_prompt, *guided)
    else:
        prompt = settings.prompt if settings.source_prompt is None else settings.source_prompt
        text = encode_prompt(model, prompt, settings.negative_prompt, *guided)
    if entry.index.branches == (SHARED,):
        text, _ = unique_branches(text, text.names, SHARED)
    if text_identity(text) != entry.index.determined_by["prompts"]:
        raise UserError("plan: its live source was made under prompts that are read otherwise here; make it anew")
    return LiveSource(
        entry,
        model.device,
        model=model,
        text=text,
        scheduler=scheduler,
        layers_kept=layers,
        steps_kept=steps,
    )
