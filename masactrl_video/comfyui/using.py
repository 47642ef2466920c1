"""Use Source: a MODEL whose self-attention asks recorded sources, at whatever noise levels a sampler calls it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.modes.registry import mode_named
from masactrl_video.attention.parts import SourcePart
from masactrl_video.attention.plan import ControlPlan, layers_from
from masactrl_video.attention.record import KeepObjectMap
from masactrl_video.attention.session import AttentionControl
from masactrl_video.comfyui.calls import Call
from masactrl_video.comfyui.comfy_types import CALL, RUN, STEP, Patcher
from masactrl_video.comfyui.fitting import fit_of
from masactrl_video.comfyui.models import network_of
from masactrl_video.comfyui.networks import ComfyNetwork, Reading
from masactrl_video.comfyui.recording import Source
from masactrl_video.comfyui.words import Words
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer, TextAttention, TextCall
from masactrl_video.model.backbones.branches import Branch
from masactrl_video.model.backbones.steps import DenoiserCall

KEY = "masactrl_video.use"


@dataclass(frozen=True, eq=False)
class Part:
    """One source, and what part it has in the frames."""

    source: Source
    weight: float = 1.0
    source_mask: torch.Tensor | None = None
    """(height, width) in [0, 1]: where its object is in the source's picture."""
    target_mask: torch.Tensor | None = None
    """(frames, height, width) in [0, 1]: where the object is in the frames; in the mode `regions` this source's own."""
    target_words: Words | None = None
    """The object's words in the frames' prompt, instead of its mask; in the mode `regions` this source's own."""


@dataclass(frozen=True)
class Where:
    """Which steps and layers ask the sources, and how."""

    mode: str = "source"
    first_step: int = 4
    """MasaCtrl's S: a step of the sampler that recorded the source, from 0."""
    first_layer: int = 10
    """MasaCtrl's L: a self-attention layer, from 0."""


class _PromptComesSecondError(Exception):
    """The negative prompt was called before the prompt in which words are to be looked for."""


class _AsBefore:
    """The negative prompt's call knows words' maps from the layers on in which the prompt's call had them."""

    def __init__(self, kept: dict[str, torch.Tensor]) -> None:
        self._kept, self._before = kept, dict(kept)
        kept.clear()

    def __call__(self, layer: AttentionLayer, call: TextCall, out: torch.Tensor) -> torch.Tensor:
        """A `TextAttention`."""
        self._kept[layer.name] = self._before[layer.name]
        return out


@dataclass(frozen=True, eq=False)
class Use:
    """What a patched MODEL asks; it keeps nothing from run to run."""

    parts: tuple[Part, ...]
    where: Where
    network: ComfyNetwork
    _control: list[AttentionControl] = field(default_factory=list, repr=False)
    """That of the run in progress, if any."""
    _mapped_at: list[float] = field(default_factory=list, repr=False)
    """Noise level at which words were last looked for."""
    _apart: list[bool] = field(default_factory=list, repr=False)
    """Not empty: in this run, the prompt's own call is to be made before the others."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Use:
        return self

    def run(self, executor: Callable[..., torch.Tensor], *arguments: Any, **named: Any) -> torch.Tensor:
        """Around a whole run of a sampler: each starts anew, also after one that was interrupted."""
        self._forget()
        try:
            return executor(*arguments, **named)
        finally:
            self._forget()

    def _forget(self) -> None:
        for of_run in (self._control, self._mapped_at, self._apart):
            of_run.clear()

    def step(
        self,
        executor: Callable[..., list[torch.Tensor]],
        model: object,
        conds: Sequence[object],
        *arguments: Any,
        **named: Any,
    ) -> list[torch.Tensor]:
        """Around the calls for all prompts at a noise level: where words are looked for, the prompt's own comes first.

        ComfyUI begins with the negative prompt where memory is too short for both.
        """
        looks = any(part.target_words is not None for part in self.parts)
        if not self._apart and not (looks and self.network.calls_each_branch):
            try:
                return executor(model, conds, *arguments, **named)
            except _PromptComesSecondError:
                self._apart.append(True)
        first = executor(model, [conds[0], *[None] * (len(conds) - 1)], *arguments, **named)
        others = executor(model, [None, *conds[1:]], *arguments, **named)
        return [first[0], *others[1:]]

    def call(self, executor: Callable[..., torch.Tensor], *arguments: Any, **named: Any) -> torch.Tensor:
        """Around a call of the denoiser: its controlled layers ask the sources."""
        call = Call(executor, arguments, named)
        branches = [cast(Branch, branch) for branch in call.branches]
        if not self._control:
            self._control.append(self._start(call.x, branches))
        session, rows = self._control[0], len(call.x)
        if session.plan.mask_layers:
            if "conditional" not in branches and self._mapped_at != [call.sigma]:
                raise _PromptComesSecondError
            self._mapped_at[:] = [call.sigma]
        session.use_branches(branches)
        session.figures.target_mask = self._target_mask(rows // len(branches), call.size, call.x.device)
        session.begin(DenoiserCall(call.sigma, rows, call.size))
        wanted = session.plan.layers_at(session.timesteps.index(call.sigma))
        reading = self._reading(session, call) if wanted else {}
        with self.network.answered(
            call, [layer for layer in self.network.layers if layer in wanted], session.attend, reading
        ) as options:
            return call.made(options)

    def _start(self, x: torch.Tensor, branches: Sequence[Branch]) -> AttentionControl:
        first = self.parts[0].source
        by_region = "regions" in mode_named(self.where.mode).needs
        start = first.schedule[self.where.first_step]
        steps = [step for step, sigma in enumerate(first.recorded.timesteps) if sigma <= start]
        words = next((part.target_words for part in self.parts if part.target_words is not None), None)
        maps = () if words is None else tuple(self.network.map_layers(words.divisor))
        layers = layers_from(self.network.layers, self.where.first_layer)
        plan = ControlPlan(tuple(steps), layers, self.where.mode, maps)
        rule = MaskRule() if words is None else MaskRule(() if by_region else words.tokens, words.threshold)
        parts = [self._part(part, x, by_region) for part in self.parts]
        return AttentionControl(parts, plan, branches, rule)

    def _part(self, part: Part, x: torch.Tensor, by_region: bool) -> SourcePart:
        size = (x.shape[-2], x.shape[-1])
        region = None
        if by_region and part.target_mask is not None:
            region = on_grid(part.target_mask[:1], size)[0].to(x.device)
        mask = None
        if part.source_mask is not None:
            mask = on_grid(part.source_mask[None], part.source.latent_size)[0].to(x.device)
        words = part.target_words.tokens if by_region and part.target_words is not None else ()
        source, size = part.source.on(x.device), part.source.latent_size
        return SourcePart(source, size, weight=part.weight, region=region, mask=mask, target_tokens=words)

    def _reading(self, session: AttentionControl, call: Call) -> Reading:
        """Who keeps which words' maps, by layer."""
        told: list[TextAttention] = []
        maps = [session.figures.object_maps, *session.figures.region_maps]
        tokens = [session.masks.target_tokens, *(part.target_tokens for part in session.parts)]
        for words, kept in zip(tokens, maps, strict=True):
            if words and "conditional" in call.branches:
                Words(words).check(call.context)
                told.append(KeepObjectMap(words, ["conditional"], session.map_size, kept))
            elif words and not self.network.calls_each_branch:
                told.append(_AsBefore(kept))
        return {layer.name: told for layer in session.plan.mask_layers} if told else {}

    def _target_mask(self, frames: int, size: tuple[int, int], device: torch.device) -> torch.Tensor | None:
        mask = self.parts[0].target_mask
        if mask is None or "regions" in mode_named(self.where.mode).needs:
            return None
        if len(mask) not in (1, frames):
            raise UserError(f"target_mask: got {len(mask)} masks for {frames} frames; give 1, or one for each frame")
        return on_grid(mask, size).expand(frames, -1, -1).to(device)


def on_grid(masks: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(frames, height, width) in [0, 1] → bool on the latents: where at least half of a cell is covered."""
    return F.interpolate(masks[:, None].float(), size=size, mode="area")[:, 0] >= 0.5


def use_source(model: Patcher, part: Part, where: Where) -> Patcher:
    """A copy of a MODEL that asks a source, beside those that it asks already; the given one stays as it is.

    Raises:
        UserError: the source does not fit the model or those before it, or what the mode needs is missing.
    """
    network = network_of(model)
    layers = network.layers
    part.source.fit.check(fit_of(model, layers))
    before: Use | None = model.get_attachment(KEY)
    check_part(part, where, before)
    use = (
        Use((part,), where, network)
        if before is None
        else replace(before, parts=(*before.parts, part), _control=[], _mapped_at=[], _apart=[])
    )
    _check_layers(part, layers_from(layers, where.first_layer))
    if part.target_words is not None:
        _check_maps(network.map_layers(part.target_words.divisor), layers_from(layers, where.first_layer))
    patched = model.clone()
    patched.set_attachments(KEY, use)
    for kind, method in ((RUN, use.run), (STEP, use.step), (CALL, use.call)):
        patched.remove_wrappers_with_key(kind, KEY)
        patched.add_wrapper_with_key(kind, KEY, partial(method))
    return patched


def _check_layers(part: Part, wanted: Sequence[AttentionLayer]) -> None:
    if not wanted:
        raise UserError("first_layer: no layer is controlled, so that nothing would follow the source; give less")
    if missing := [layer.name for layer in wanted if layer.name not in part.source.recorded.layers]:
        raise UserError(f"the source was recorded without layer {missing[0]}; record it from a lower first_layer on")


def _check_maps(maps: Sequence[AttentionLayer], wanted: Sequence[AttentionLayer]) -> None:
    if wanted[0].index <= maps[0].index:
        raise UserError(
            f"first_layer: with words, layer {wanted[0].index} cannot ask the source, for their map comes from the "
            f"layers {', '.join(str(layer.index) for layer in maps)}; give {maps[0].index + 1} or more, or masks"
        )


def check_part(part: Part, where: Where, before: Use | None) -> None:
    """See that a source has what its mode needs, and goes with those before it.

    Raises:
        UserError: it does not.
    """
    needs = mode_named(where.mode).needs
    has_target = part.target_mask is not None or part.target_words is not None
    if part.target_mask is not None and part.target_words is not None and "regions" not in needs:
        raise UserError("words: a target_mask is given too; give one of the two")
    if "masks" in needs and not has_target and (before is None or "regions" in needs):
        raise UserError(
            f"mode {where.mode}: it needs a target_mask; connect a MASK of where the object is in the frames, or its "
            "words from Prompt with Words"
        )
    if "masks" in needs and "regions" not in needs and part.source_mask is None and not part.source.knows_object():
        raise UserError(
            f"mode {where.mode}: it needs a source_mask; connect a MASK of where the object is in the source, or give "
            "its words to Record Source"
        )
    if "masks" not in needs and (has_target or part.source_mask is not None):
        raise UserError(f"mode {where.mode}: it asks no mask; disconnect them, or take the mode masked or regions")
    steps = len(part.source.schedule)
    if where.first_step >= steps:
        raise UserError(f"first_step: got {where.first_step}, the source has the steps 0 to {steps - 1}; give less")
    if before is None:
        return
    if before.where != where:
        raise UserError(
            f"second Use Source: mode, first_step and first_layer must be those of the one before "
            f"({before.where.mode}, {before.where.first_step}, {before.where.first_layer})"
        )
    if "regions" not in needs and has_target:
        raise UserError("second Use Source: target_mask and words of the first one count for all; disconnect these")
