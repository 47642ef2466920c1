"""Recording a source in the cache: its keys, values and maps, step by step, once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import JsonValue

from masactrl_video.attention.masks import binary_mask
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.attention.record import record_attention
from masactrl_video.attention.recorded import RecordedSource, StepRecord
from masactrl_video.cache.making import making, open_or_discard
from masactrl_video.cache.manage import Quota, make_room
from masactrl_video.cache.quantize import pack, packed_bytes_of, storage_error
from masactrl_video.cache.recorded_source import COLOURS, LEVELS, OBJECT_MAP, CachedSource, logger, object_maps
from masactrl_video.cache.store import CacheWriter, open_entry
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.branches import UNGUIDED
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.sampling.clean import predicted_clean
from masactrl_video.model.sampling.colours import moments_by_region
from masactrl_video.model.sampling.invert import Trajectory
from masactrl_video.model.sampling.schedulers import timesteps_of
from masactrl_video.progress import counting
from masactrl_video.settings.names import CacheDtype
from masactrl_video.sources.identity import source_identity
from masactrl_video.sources.live import LIVE, STORED_AS, LiveSource, map_name, stored_pictures
from masactrl_video.sources.source import GeneratedSource, RealSource, Walk, replay
from masactrl_video.storage.fingerprint import fingerprint, hash_tensor


@dataclass(frozen=True)
class ObjectWords:
    """Where the words of the source's object stand."""

    tokens: tuple[int, ...]
    """Positions among the tokens of the prompt."""
    caption: TextCondition | None = None
    """A caption that names the object, one branch, for a source whose own prompt does not (a real one with the null
    prompt): its cross-attention is taken from a side pass over the source's latents, and only the maps are used."""
    attributes: tuple[tuple[int, ...], ...] = ()
    """Positions of the words of each thing that the object wears, whose own map joins the object's."""


@dataclass(frozen=True, eq=False)
class ColourRule:
    """What of a source's colours is kept, for frames to be aligned to."""

    threshold: float | None = None
    """At which its object map is cut, where one is recorded."""
    mask: torch.Tensor | None = None
    """(height, width) bool, of any size: a given mask of its object."""

    def identity(self) -> JsonValue:
        """For the entry's name."""
        return {"threshold": self.threshold, "mask": None if self.mask is None else hash_tensor(self.mask)}

    def figure(self, object_map: torch.Tensor | None, grid: tuple[int, int]) -> torch.Tensor | None:
        """(1, height, width) bool: where the object is; None where that is not known."""
        if self.mask is not None:
            return binary_mask(self.mask[None], 0.5, grid).reshape(1, *grid)
        if object_map is None or self.threshold is None:
            return None
        return binary_mask(object_map[None], self.threshold, grid).reshape(1, *grid)


@dataclass(frozen=True)
class _Kept:
    """What an entry holds of a source, and how; see `cached_source`."""

    dtype: CacheDtype
    colours: ColourRule | None
    levels: bool
    live: bool

    def identity(self) -> dict[str, JsonValue]:
        """Its part of what determines the entry."""
        found: dict[str, JsonValue] = {}
        if self.live or self.dtype != "exact":
            found[STORED_AS] = LIVE if self.live else self.dtype
        if self.colours is not None:
            found["colours"] = self.colours.identity()
        return found | ({"levels": True} if self.levels else {})


def cached_source(
    root: Path,
    model: DiffusionModel,
    source: GeneratedSource | RealSource,
    branches: Sequence[str],
    plan: ControlPlan,
    words: ObjectWords | None = None,
    quota: Quota | None = None,
    dtype: CacheDtype = "exact",
    colours: ColourRule | None = None,
    *,
    levels: bool = False,
    live: bool = False,
) -> CachedSource:
    """The recorded source from the cache at `root`; recorded now if it is not there, or damaged.

    Of two processes that need the same source one records it, and the other waits for it.

    Args:
        branches: names of the rows of `source.text`.
        plan: its steps and layers are recorded; its `mask_layers` give the object map when `words` are given.
        quota: how large the cache may become with the new entry; the longest unused others go first.
        dtype: how keys and values are stored.
        colours: what is kept of its colours; None: nothing.
        levels: whether its latents at every step are kept.
        live: keep no keys and values, but what it takes to make them again (see `live_bytes`).

    Raises:
        CacheDamaged: an entry that is damaged and cannot be removed, or is damaged again right after it was recorded.
        StorageError: no space, no permission to write, or the quota is too small.
    """
    words = words or ObjectWords(())
    kept = _Kept(dtype, colours, levels, live)
    identity = source_identity(source, model, plan, words.caption, words.tokens, words.attributes) | kept.identity()
    name = fingerprint(identity)
    with making(root, name):
        entry = open_or_discard(root, name)
        if entry is None:
            needed_bytes = live_bytes(source) if live else expected_bytes(model, source, len(branches), plan, dtype)
            if quota is not None:
                make_room(root, quota, needed_bytes)
            with CacheWriter(
                root,
                identity,
                branches=branches,
                timesteps=timesteps_of(source.scheduler),
                layers=[layer.name for layer in plan.layers],
                expected_bytes=needed_bytes,
            ) as writer:
                _Record(writer, model, source, plan, words, kept).make(branches)
            entry = open_entry(root, name)
            assert entry is not None
        else:
            logger.info("source: cache entry %s is reused", name)
    entry.touch()
    if live:
        return LiveSource(
            entry,
            model.device,
            model=source.denoising.model if isinstance(source, GeneratedSource) else model,
            text=source.text,
            scheduler=source.scheduler,
            layers_kept=plan.layers,
            steps_kept=plan.steps,
        )
    return CachedSource(entry, model.device, None if dtype == "exact" else model.dtype)


def expected_bytes(
    model: DiffusionModel,
    source: GeneratedSource | RealSource,
    branches: int,
    plan: ControlPlan,
    dtype: CacheDtype = "exact",
) -> int:
    """Size of a cache entry before anything is computed: keys and values of all steps and layers."""
    latents = _latents_of(source)
    size = (latents.shape[-2], latents.shape[-1])
    value_bytes, step_bytes = model.dtype.itemsize, 0
    for layer in plan.layers:
        height, width = layer.grid(size)
        channels = 2 * branches * layer.key_channels
        step_bytes += packed_bytes_of(height * width * channels, channels, dtype, value_bytes)
    return len(plan.steps) * step_bytes + 2 * latents.nbytes


def live_bytes(source: GeneratedSource | RealSource) -> int:
    """Size of a cache entry without keys and values: the latents of every step, and control pictures."""
    pictures = source.pictures if isinstance(source, GeneratedSource) else ()
    return (len(source.scheduler.timesteps) + 2) * _latents_of(source).nbytes + sum(p.nbytes for p in pictures)


def _latents_of(source: GeneratedSource | RealSource) -> torch.Tensor:
    return source.noise if isinstance(source, GeneratedSource) else source.picture_latents


class _Record:
    """A source on its way into the cache: what its calls give is written, or kept until the end."""

    def __init__(
        self,
        writer: CacheWriter,
        model: DiffusionModel,
        source: GeneratedSource | RealSource,
        plan: ControlPlan,
        words: ObjectWords,
        kept: _Kept,
    ) -> None:
        self._writer, self._model, self._source, self._plan, self._words = writer, model, source, plan, words
        self._kept = kept
        self._maps: dict[int, dict[str, torch.Tensor]] = {}
        self._object_maps: dict[int, torch.Tensor | None] = {}
        self._moments: list[torch.Tensor] = []
        self._errors: list[float] = []
        self._passed: list[torch.Tensor] = []
        self._about: dict[str, torch.Tensor] = {}

    def make(self, branches: Sequence[str]) -> None:
        """Take all steps, and write everything."""
        model, source, plan, words = self._model, self._source, self._plan, self._words
        walk = source.begin()
        if words.caption is not None:
            assert walk.trajectory is not None
            self._maps = caption_maps(model, walk.trajectory, source.scheduler, words, plan)
            words = ObjectWords(())
        if self._kept.levels or self._kept.live or self._kept.colours is not None:
            walk.look = self._look
        with (
            source.following(walk) if isinstance(source, GeneratedSource) else nullcontext(),
            record_attention(
                model.denoiser,
                plan.layers,
                self._keep,
                branches=branches,
                object_tokens=words.tokens,
                attributes=words.attributes,
                map_layers=plan.mask_layers,
                clock=model.clock,
            ),
        ):
            steps = len(source.scheduler.timesteps)
            for _ in counting(walk.steps, "source: record", "step", total=steps, passing=True):
                pass
        self._write_rest(walk)

    def _keep(self, _: float, record: StepRecord) -> None:
        """What `record_attention` says of a step."""
        step = self._model.clock.now()
        if step not in self._plan.steps:
            return
        stored_maps = self._maps[step] if self._maps else object_maps(record)
        self._object_maps[step] = stored_maps.get(OBJECT_MAP)
        if self._kept.live:
            self._about.update({map_name(step, name): tensor for name, tensor in stored_maps.items()})
            return
        states = _keys_and_values(record)
        packed = pack(states, self._kept.dtype)
        if self._kept.dtype != "exact":
            self._errors.append(storage_error(states, packed))
        self._writer.write_step(step, packed | stored_maps)

    def _look(self, output: torch.Tensor, latents: torch.Tensor, step: int) -> None:
        """What a step began with, and what came out of the denoiser."""
        self._passed.append(latents[0])
        if self._kept.colours is not None:
            clean = predicted_clean(self._source.scheduler, output, latents, step)
            figure = self._kept.colours.figure(self._object_maps.get(step), (clean.shape[2], clean.shape[3]))
            self._moments.append(moments_by_region(clean, figure)[0])

    def _write_rest(self, walk: Walk) -> None:
        """What belongs to no step alone."""
        assert walk.final_latents is not None
        about, kept = self._about, self._kept
        if self._errors:
            about["storage_errors"] = torch.tensor(self._errors)
        if kept.levels or kept.live:
            about[LEVELS] = torch.stack([*self._passed, walk.final_latents[0]] if kept.levels else self._passed)
        if kept.live and isinstance(self._source, GeneratedSource):
            about |= stored_pictures(self._source.pictures)
        if self._moments:
            about[COLOURS] = torch.stack(self._moments)
        self._writer.write("source", {"initial_noise": walk.initial_noise, "latents": walk.final_latents} | about)


def caption_maps(
    model: DiffusionModel,
    trajectory: Trajectory,
    scheduler: Schedule,
    words: ObjectWords,
    plan: ControlPlan,
) -> dict[int, dict[str, torch.Tensor]]:
    """Step → object maps of a real source, as stored, by a side pass under a caption that names the object."""
    assert words.caption is not None
    maps: dict[int, dict[str, torch.Tensor]] = {}

    def keep(_: float, record: StepRecord) -> None:
        maps[model.clock.now()] = object_maps(record)

    with record_attention(
        model.denoiser,
        (),
        keep,
        branches=UNGUIDED,
        object_tokens=words.tokens,
        attributes=words.attributes,
        map_layers=plan.mask_layers,
        masked_layers=plan.layers,
        clock=model.clock,
    ):
        steps = replay(model, trajectory, words.caption, scheduler)
        for _ in counting(steps, "source: mask", "step", total=len(scheduler.timesteps), passing=True):
            pass
    return maps


def _keys_and_values(record: StepRecord) -> dict[str, torch.Tensor]:
    keys = {f"{name}.key": key for name, key in record.keys.items()}
    return keys | {f"{name}.value": value for name, value in record.values.items()}


def check_recorded(source: RecordedSource, latents: torch.Tensor, dtype: torch.dtype) -> None:
    """See that a recorded source has numbers that frames can query.

    Raises:
        UserError: its picture is not finite; step and layer of the first record that is not are named.
    """
    if latents.isfinite().all():
        return
    where = "after the recorded layers"
    for step in source.steps:
        record = source.read(step)
        bad = [name for name in source.layers if not (record.keys[name].isfinite().all())]
        if bad:
            where = f"at denoising step {step}, in or before {bad[0]}"
            break
    advice = "other weights may help" if dtype == torch.float32 else "take --dtype float32"
    raise UserError(f"source: its numbers are not finite in {str(dtype).removeprefix('torch.')}, {where}; {advice}")
