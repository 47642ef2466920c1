"""What is controlled: which denoising steps, which layers, in which mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from masactrl_video.attention.modes.registry import mode_named
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.settings.acting import check_steps_act, check_steps_exist
from masactrl_video.settings.modes import needs_of
from masactrl_video.settings.names import SourcePositions


@dataclass(frozen=True)
class ControlPlan:
    """Where mutual self-attention replaces self-attention (MasaCtrl, Eq. 5)."""

    steps: tuple[int, ...]
    """Controlled denoising steps, counted from 0."""
    layers: tuple[AttentionLayer, ...]
    """Controlled layers in forward order."""
    mode: str = "source"
    mask_layers: tuple[AttentionLayer, ...] = ()
    """Layers whose attention to words gives the object map; empty where no map is taken from words."""
    whole_every: int = 1
    """The whole denoiser runs at every so many steps (see `Denoising.whole_every`)."""
    positions: SourcePositions = "as-is"
    """Where the source's keys stand, in layers that know places: where they stood in the source; to the right of the
    frame, so that none stands where a token of the frame does; nowhere, their places left out; or each where the limb
    that it shows is in the frame."""

    def layers_at(self, step: int) -> tuple[AttentionLayer, ...]:
        """Layers that are controlled at a denoising step: of the controlled ones, those that run then."""
        if step not in self.steps:
            return ()
        return tuple(layer for layer in self.layers if layer.is_outermost or step % self.whole_every == 0)

    def check_acts(self, num_steps: int) -> None:
        """See that the source is used at all.

        Raises:
            UserError: at no step, or in no layer.
        """
        check_steps_act(self.steps, num_steps)
        if not self.layers:
            raise UserError("masa_layer: no layer is controlled, so that nothing would follow the source; give fewer")

    @property
    def acting_steps(self) -> tuple[int, ...]:
        """Controlled steps at which at least one layer is controlled."""
        return tuple(step for step in self.steps if self.layers_at(step))


def plan_control(
    denoiser: torch.nn.Module,
    num_steps: int,
    *,
    masa_step: int = 4,
    masa_layer: int = 10,
    masa_steps: Sequence[int] | None = None,
    masa_layers: Sequence[str] | None = None,
    mode: str = "source",
    mask_grid_divisor: int | None = None,
    positions: SourcePositions = "as-is",
) -> ControlPlan:
    """Resolve MasaCtrl's S and L, or explicit lists, against a model and a number of denoising steps.

    Args:
        masa_step: S; control from this step on, counted from 0. `num_steps` or more controls nothing.
        masa_layer: L; control from this self-attention layer on, counted from 0 in forward order.
        masa_steps: explicit steps instead of S.
        masa_layers: explicit layers instead of L, by number or by the beginning of their name.
        positions: see `ControlPlan.positions`.
        mask_grid_divisor: where object maps are taken from cross-attention, latent side / map side; None: nowhere.

    Raises:
        UserError: a step or layer that does not exist, or a masked layer that runs before the first object map.
    """
    needs = needs_of(mode)
    backbone = backbone_of(denoiser)
    layers = backbone.layers(denoiser)
    chosen = layers_named(layers, masa_layers) if masa_layers is not None else layers_from(layers, masa_layer)
    steps = _explicit_steps(masa_steps, num_steps) if masa_steps is not None else _steps_from(masa_step, num_steps)
    maps = backbone.map_layers(layers, mask_grid_divisor) if mask_grid_divisor is not None else ()
    if "masks" in needs and maps and chosen and chosen[0].index <= maps[0].index:
        raise UserError(
            f"masa_layer: {mode} mode cannot control layer {chosen[0].index}: the object map comes from the "
            f"cross-attention of layers {', '.join(str(layer.index) for layer in maps)}, which runs later; "
            f"start at layer {maps[0].index + 1}, or give mask images"
        )
    if any(layer.kind == "joint" for layer in chosen) and not getattr(mode_named(mode), "joint", False):
        raise UserError(
            f"attention_mode {mode}: it knows nothing of a prompt in one softmax with the picture, as {backbone.title} "
            "has it; take source, union, masked or regions"
        )
    if positions != "as-is" and not backbone.keys_have_places:
        raise UserError(f"source_positions {positions}: the keys of {backbone.title} hold no places; leave it out")
    if positions == "pose" and not backbone.keys_can_move:
        raise UserError(
            f"source_positions pose: {backbone.title} puts keys on its own grid alone; take shifted or free"
        )
    return ControlPlan(steps, chosen, mode, maps, positions=positions)


def layers_between_maps(
    layers: Sequence[AttentionLayer], map_layers: Sequence[AttentionLayer]
) -> tuple[AttentionLayer, ...]:
    """Those of `layers` which run after the first object map and before the last.

    A block attends to the text after it has attended to the picture, so a layer never sees its own block's map.
    """
    if not map_layers:
        return ()
    first, last = map_layers[0].index, map_layers[-1].index
    return tuple(layer for layer in layers if first < layer.index <= last)


def _steps_from(first: int, num_steps: int) -> tuple[int, ...]:
    if first < 0:
        raise UserError(f"masa_step: got {first}; give 0 or more ({num_steps} or more controls nothing)")
    return tuple(range(first, num_steps))


def _explicit_steps(steps: Sequence[int], num_steps: int) -> tuple[int, ...]:
    check_steps_exist(steps, num_steps)
    return tuple(sorted(set(steps)))


def layers_from(layers: Sequence[AttentionLayer], first: int) -> tuple[AttentionLayer, ...]:
    """Layers `first` and later (MasaCtrl's L). `first` may be one past the last layer: then none is controlled."""
    if not 0 <= first <= len(layers):
        raise UserError(
            f"masa_layer: got {first}; this model has {len(layers)} self-attention layers, so give 0 to {len(layers)}"
        )
    return tuple(layers[first:])


def layers_named(layers: Sequence[AttentionLayer], names: Sequence[str]) -> tuple[AttentionLayer, ...]:
    """Layers picked by number or by the beginning of their name, in forward order.

    The name of a block picks every layer in it. A name that matches no layer is an error.
    """
    picked: set[int] = set()
    for name in names:
        matches = {
            layer.index
            for layer in layers
            if name in (str(layer.index), layer.name) or layer.name.startswith(f"{name}.")
        }
        if not matches:
            known = ", ".join(dict.fromkeys(_place(layer.block) for layer in layers))
            raise UserError(
                f"masa_layers: no self-attention layer matches {name!r}; this model has 0 to "
                f"{len(layers) - 1} in {known}"
            )
        picked |= matches
    return tuple(layer for layer in layers if layer.index in picked)


def _place(block: str) -> str:
    """The part of a network that a block is in."""
    return block.rsplit(".", 1)[0] if block.count(".") == 1 else block.rsplit(".transformer_blocks", 1)[0]
