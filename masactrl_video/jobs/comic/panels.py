"""A panel of a comic, rendered against the sources of its characters by the same code as a clip's frames."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.parts import SourcePart
from masactrl_video.attention.plan import ControlPlan, plan_control
from masactrl_video.attention.recorded import MemorySource
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.controls.canvas import size_for
from masactrl_video.controls.clip import read_fitted
from masactrl_video.errors import UserError
from masactrl_video.jobs.comic.cast import Picture, check_words
from masactrl_video.jobs.comic.plan import PlannedPanel
from masactrl_video.jobs.comic.skeletons import panel_skeletons
from masactrl_video.jobs.render_frames import picture_text
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import check_region_prompts, encode_prompt
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler, timesteps_of
from masactrl_video.page.story import Story
from masactrl_video.poses.draw import draw_pose
from masactrl_video.poses.named_poses import joined
from masactrl_video.render.chunks import render_frames
from masactrl_video.render.frames import FramesJob
from masactrl_video.render.job import with_references
from masactrl_video.settings.fields import settings_where
from masactrl_video.settings.names import Box, Ground
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.control import guidance_rule
from masactrl_video.storage.fingerprint import hash_json, hash_module, hash_tensor
from masactrl_video.video.png import read_png_text

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PanelJob:
    """A panel that is checked against the model and can be rendered."""

    planned: PlannedPanel
    settings: Settings
    """With the panel's own prompt, negative prompt and seed."""
    model: DiffusionModel
    """With the network for poses, where a pose guides the panel."""
    size_px: tuple[int, int]
    """Height and width at which it is rendered."""
    words: Mapping[str, tuple[int, ...]]
    """Character → positions of its words in the prompt; characters without words are missing."""
    plan: ControlPlan
    ground: Ground

    def by_regions(self, names: Iterable[str]) -> bool:
        """Whether each of these characters has a part of the picture; else the whole picture follows the only one."""
        return any(name in self.words or self.planned.cast[name].box for name in names)

    def pose_picture(self) -> Picture | None:
        """The pose that guides it, drawn at its size."""
        height, width = self.size_px
        if self.planned.pose_picture is not None:
            return read_fitted(self.settings, self.planned.pose_picture, self.size_px, as_numbers=True)
        if not self.planned.poses:
            return None
        return draw_pose(joined([part.on(width, height) for part in self.planned.poses]))


def plan_job(
    planned: PlannedPanel, story: Story, settings: Settings, model: DiffusionModel, bare: DiffusionModel
) -> PanelJob:
    """Resolve a panel against the model; nothing is computed.

    Args:
        model: with the network for poses.
        bare: the same without.

    Raises:
        UserError: a size that the model does not take, or words that are not in the prompt.
    """
    panel = planned.panel
    changes: dict[str, Any] = {"prompt": panel.prompt}
    if panel.negative_prompt is not None:
        changes["negative_prompt"] = panel.negative_prompt
    if panel.seed is not None:
        changes["seed"] = panel.seed
    check_region_prompts(model, [placed.prompt for placed in planned.cast.values()])
    words = {}
    for name, placed in planned.cast.items():
        if named := placed.words or story.characters[name].words:
            prompt = placed.prompt or panel.prompt
            words[name] = check_words(model, prompt, named, f"{planned.where}, words of {name}")
    own_settings = settings.model_copy(update=changes)
    return PanelJob(
        planned,
        own_settings,
        model if planned.posed else bare,
        size_for(planned.place.width / planned.place.height, panel.size, model, planned.where),
        words,
        _plan(own_settings, model, planned, bool(words)),
        story.ground,
    )


def _plan(settings: Settings, model: DiffusionModel, planned: PlannedPanel, by_words: bool) -> ControlPlan:
    if not planned.cast:
        return ControlPlan((), ())
    by_regions = by_words or any(placed.box for placed in planned.cast.values())
    return plan_control(
        model.denoiser,
        settings.num_inference_steps,
        masa_step=settings.masa_step,
        masa_layer=settings.masa_layer,
        masa_steps=settings.masa_steps,
        masa_layers=settings.masa_layers,
        mode="regions" if by_regions else settings.attention_mode,
        positions=settings.source_positions,
        mask_grid_divisor=settings.mask_grid_divisor if by_words else None,
    )


def weights_of(model: DiffusionModel) -> list[str]:
    """Hashes of decoder, UNet and guidance networks: what settings only name by path."""
    modules = (model.decoder, model.denoiser, *(network.module for network in model.networks))
    return [hash_module(module) for module in modules]


def is_panel_kept(job: PanelJob, path: Path, made_from: str, *, overwrite: bool) -> bool:
    """Whether a panel is there already; one that was made from something else is removed where it may be.

    Args:
        made_from: `panel_made_from` what it is to be made from.

    Raises:
        UserError: it was made from something else and may not be replaced.
    """
    if not path.exists():
        return False
    if read_png_text(path).get("made-from") == made_from:
        logger.info("%s is there already", job.planned.where)
        return True
    if not overwrite:
        raise UserError(
            f"{job.planned.where}: {path} was made from another story, model or settings; give another output, or "
            "--overwrite (panels that did not change are kept)"
        )
    path.unlink()
    return False


class PanelPicture(NamedTuple):
    """A panel that is rendered."""

    png: bytes
    figures: dict[str, Any]
    """For the report."""


def panel_picture(
    job: PanelJob, sources: Mapping[str, CachedSource], picture: Picture | None, made_from: str
) -> PanelPicture:
    """Render a panel.

    Args:
        sources: of all characters, by name.
        picture: its pose, drawn.
        made_from: see `is_panel_kept`; written into the picture.
    """
    own = {name: sources[name] for name in job.planned.cast}
    logger.info("%s: %s", job.planned.where, job.settings.prompt)
    text = _picture_text(job) | {"made-from": made_from}
    frames = _frames_job(job, own, picture)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "panel.png"
        figures = render_frames(frames, [path], batch_size=1, chunk_frames=1, text=text)["attention"]
        png = path.read_bytes()
    recorded = [name for name, source in own.items() if not source.has_references]
    for number, name in enumerate(recorded if job.by_regions(recorded) else ()):
        if job.plan.steps and job.plan.layers and not figures[f"tokens_of_source_{number}"]:
            logger.warning("%s: %s was found nowhere in it; give other words, or a box", job.planned.where, name)
    return PanelPicture(
        png, {"panel": job.planned.number, "kept": False, "characters": list(own), "attention": figures}
    )


def _frames_job(job: PanelJob, sources: Mapping[str, CachedSource], picture: Picture | None) -> FramesJob:
    settings, kept = job.settings, [source for source in sources.values() if source.has_references]
    model = with_references(job.model, kept)
    sources = {name: source for name, source in sources.items() if not source.has_references}
    guided = (settings.guidance_scale, job.size_px, settings.true_cfg_scale)
    text = encode_prompt(model, settings.prompt, settings.negative_prompt, *guided)
    scheduler = make_scheduler(model, settings.scheduler, settings.num_inference_steps, job.size_px)
    first: Any = next(iter(sources.values()), None) or MemorySource(text.names, (), timesteps_of(scheduler))
    latent_size, parts = model.latent_size(*job.size_px), _parts(job, sources)
    return FramesJob(
        denoising=Denoising(model, text, settings.branch_scale, settings.seed, rule=guidance_rule(settings)),
        scheduler=scheduler,
        source=first,
        source_noise=_noise(job, list(sources.values())),
        plan=job.plan if sources else ControlPlan((), ()),
        guidance=[[picture]] if picture is not None else [],
        masks=MaskRule(threshold=settings.mask_threshold),
        parts=parts if job.by_regions(sources) or any(part.latent_size != latent_size for part in parts) else (),
        ground=job.ground,
        skeletons=panel_skeletons(job.planned, _sizes_px(model, sources), job.size_px),
    )


def _sizes_px(model: DiffusionModel, sources: Mapping[str, CachedSource]) -> dict[str, tuple[int, int]]:
    """Height and width of each character's source."""
    factor = model.vae_scale_factor
    return {
        name: (source.latents.shape[-2] * factor, source.latents.shape[-1] * factor) for name, source in sources.items()
    }


def _noise(job: PanelJob, sources: Sequence[CachedSource]) -> torch.Tensor:
    """The only character's own noise where the sizes agree (MasaCtrl, Sec. 5), else noise of the seed."""
    if len(sources) == 1 and job.planned.panel.seed is None:
        noise = sources[0].initial_noise
        if tuple(noise.shape[-2:]) == job.model.latent_size(*job.size_px):
            return noise
    return initial_noise(job.model, job.size_px, job.settings.seed)


def _parts(job: PanelJob, sources: Mapping[str, CachedSource]) -> list[SourcePart]:
    latent_size = job.model.latent_size(*job.size_px)
    parts = []
    for name, source in sources.items():
        box = job.planned.cast[name].box
        region = _in_box(box, latent_size).to(job.model.device) if box is not None else None
        own_size = (source.latents.shape[-2], source.latents.shape[-1])
        prompt = job.planned.cast[name].prompt
        text = None if prompt is None else encode_prompt(job.model, prompt, "", 1.0, job.size_px).hidden_states
        parts.append(SourcePart(source, own_size, job.words.get(name, ()), region, text))
    return parts


def _in_box(box: Box, size: tuple[int, int]) -> torch.Tensor:
    """(height, width) bool: cells whose middle lies in the box."""
    left, top, right, bottom = box
    across, down = ((torch.arange(side) + 0.5) / side for side in (size[1], size[0]))
    return ((down >= top) & (down <= bottom))[:, None] & ((across >= left) & (across <= right))[None]


def panel_made_from(
    job: PanelJob, sources: Mapping[str, CachedSource], picture: Picture | None, weights: Sequence[str]
) -> str:
    """Names everything that determines the panel's pixels; for the arguments see `panel_picture`.

    Args:
        weights: `weights_of` the model with all its networks.
    """
    settings = job.settings.as_yaml_data()
    content = {
        "settings": {name: settings[name] for name in settings_where(Settings, lambda about: not about.keeps_panels)},
        "prompt": job.settings.prompt,
        "size": job.size_px,
        "cast": {name: [placed.box, job.words.get(name), placed.prompt] for name, placed in job.planned.cast.items()},
        "ground": job.ground,
        "sources": {name: sources[name].entry.folder.name for name in job.planned.cast},
        "pose": hash_tensor(torch.from_numpy(np.ascontiguousarray(picture))) if picture is not None else None,
        "weights": list(weights if job.planned.posed else weights[:2]),  # no network guides the others
    }
    return hash_json(content)


def _picture_text(job: PanelJob) -> dict[str, str]:
    panel = job.planned.panel.model_dump(mode="json", exclude_defaults=True)
    settings = {k: v for k, v in job.settings.as_yaml_data().items() if k not in ("clip", "guidance")}
    data = json.dumps({"panel": panel, "settings": settings}, ensure_ascii=False)
    return {"parameters": picture_text(job.settings)["parameters"], "masactrl-video": data}
