"""Sources that several targets share, each recorded once, from the lowest step and layer that any of them needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from masactrl_video.attention.plan import ControlPlan
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.jobs.stills import StillCanvas, plan_still, record_still, with_weights
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.settings.fields import settings_where
from masactrl_video.settings.inactive import MASKED
from masactrl_video.settings.stills import StillSettings
from masactrl_video.sources.control import plan_attention
from masactrl_video.sources.plan import PlannedSource


@dataclass(frozen=True)
class SharedSource:
    """A target's source: recorded for it and others."""

    planned: PlannedSource
    """With the target's own plan."""
    recorded: CachedSource
    group: int
    """Number of the source: equal for targets that share it."""


def record_sources(targets: Sequence[StillSettings], model: DiffusionModel, canvas: StillCanvas) -> list[SharedSource]:
    """Record the sources of all targets.

    Args:
        targets: settings of one target each.

    Returns:
        The source of each.
    """
    keys = _keys(targets)
    sources: dict[tuple[str, str], tuple[PlannedSource, CachedSource]] = {}
    plans = [plan_attention(target, with_weights(target, model))[1] for target in targets]
    for key in dict.fromkeys(keys):
        members = [number for number, other in enumerate(keys) if other == key]
        masked = [number for number in members if targets[number].masked]
        first = (masked or members)[0]  # a mask is recorded where any of them needs it
        planned = plan_still(targets[first], model, canvas)
        planned = replace(planned, plan=_union([plans[number] for number in members], planned.plan))
        sources[key] = planned, record_still(targets[first], model, planned)
    order = list(sources)
    return [
        SharedSource(replace(sources[key][0], plan=plan), sources[key][1], order.index(key))
        for key, plan in zip(keys, plans, strict=True)
    ]


def _union(plans: Sequence[ControlPlan], maps_of: ControlPlan) -> ControlPlan:
    steps = sorted({step for plan in plans for step in plan.steps})
    layers = {layer.index: layer for plan in plans for layer in plan.layers}
    return replace(maps_of, steps=tuple(steps), layers=tuple(layers[index] for index in sorted(layers)))


def _keys(targets: Sequence[StillSettings]) -> list[tuple[str, str]]:
    """What determines each target's source: all that it is made from, and which mask is recorded.

    A target without masks takes part in the record of one with masks, if there is such a one.
    """
    rest, masks = [_without_targets(target) for target in targets], [_masks(target) for target in targets]
    of_rest = {own: mask for own, mask in zip(reversed(rest), reversed(masks), strict=True) if mask}
    return [(own, mask or of_rest.get(own, "")) for own, mask in zip(rest, masks, strict=True)]


def _without_targets(target: StillSettings) -> str:
    data, of_masks = target.as_yaml_data(), _settings_of_masks()
    recorded = settings_where(StillSettings, lambda about: about.changes == "source")
    data = {name: data[name] for name in recorded if name not in of_masks}
    if not _reads_prompt(target):
        del data["prompt"]
    return json.dumps(data, sort_keys=True)


def _reads_prompt(target: StillSettings) -> bool:
    """Whether the target's prompt is the source's too, or names its object."""
    if target.real_source:
        return target.invert_with == "target" or target.masked
    return target.source_prompt is None


def _masks(target: StillSettings) -> str:
    if not target.masked:
        return ""
    return json.dumps({name: target.as_yaml_data()[name] for name in _settings_of_masks()}, sort_keys=True)


def _settings_of_masks() -> list[str]:
    return ["attention_mode", *settings_where(StillSettings, lambda about: about.only is MASKED)]
