"""Settings of still pictures: those of a render, with targets of their own instead of a clip."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from masactrl_video.settings.fields import STILLS, option
from masactrl_video.settings.home import MAY_BE_AT_HOME
from masactrl_video.settings.inactive import INVERTED, check_only
from masactrl_video.settings.presets import resolve_as, with_scaled_step
from masactrl_video.settings.settings import Settings

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Part = Annotated[float, Field(ge=0, le=1)]


_targets = partial(option, "targets", changes="frames", commands=STILLS, by_hand=True)
_inversion = partial(
    option, "inversion", changes="source", commands=STILLS - {"synthesize"}, only=INVERTED, sweepable=True
)
_axis = partial(option, "grid", changes="frames", commands=frozenset({"sweep"}))
_method = partial(option, "methods", changes="frames", commands=frozenset({"compare"}))


class StillSettings(Settings):
    """Resolved settings of `synthesize`, `edit`, `sweep` and `compare`. What belongs to a clip has no effect."""

    clip: Annotated[Path, MAY_BE_AT_HOME] = option(
        "clip",
        "has no effect on still pictures",
        Path(),
        changes="source",
        commands=frozenset(),
        by_hand=True,
        keeps_panels=True,
    )

    prompts: list[str] = _targets("what each target shows (the prompt if not given)", [])
    seeds: list[Seed] = _targets(
        "of the initial noise: source and targets for each (the seed if not given)", [], commands=STILLS - {"edit"}
    )
    source_guidance: Annotated[dict[str, Path], MAY_BE_AT_HOME] = _targets(
        "guidance picture of a generated source, by kind (a pose also by its name or JSON)",
        {},
        changes="source",
        commands=STILLS - {"edit"},
    )
    target_guidance: Annotated[dict[str, list[Path]], MAY_BE_AT_HOME] = _targets(
        "guidance pictures of the targets, by kind: one for all, or one for each", {}
    )

    invert_with: Literal["source", "target"] = _inversion(
        "prompt under which the picture is inverted: the source's (empty if not given) or the target's",
        "source",
    )
    inversion_iterations: int = _inversion(
        "fixed-point refinements of each step of the inversion; 1 to 3 are enough", 0, ge=0, le=100
    )
    replay: bool = _inversion("take the source's latents of every step from the inversion", True)

    rows: str | None = _axis("a setting and its values, from top to bottom, e.g. masa_step=0,2,4", None)
    columns: str | None = _axis("the same from left to right, e.g. masa_layer=0,4,8,10,16", None)

    sdedit_strength: float = _method("SDEdit: part of the steps that is done anew", 0.7, gt=0, le=1)
    p2p_cross_steps: Part = _method("Prompt-to-Prompt: part of the steps with the source's word maps", 0.8)
    p2p_self_steps: Part = _method("Prompt-to-Prompt: the same for self-attention", 0.4)
    pnp_feature_steps: Part = _method("Plug-and-Play: part of the steps with the source's features", 0.8)
    pnp_attention_steps: Part = _method("Plug-and-Play: the same for self-attention", 0.5)

    @model_validator(mode="after")
    def _targets_agree(self) -> Self:
        if self.source == "clip":
            raise ValueError("source clip: still pictures have no clip; give source_image, or source generate")
        if self.target_masks is not None:
            raise ValueError("target_masks belong to a clip; give mask_words")
        if self.skip_uncond:
            raise ValueError("skip_uncond belongs to a clip; leave it out")
        if self.real_source and self.source_guidance:
            raise ValueError("source_guidance: a given picture is inverted without guidance; leave it out")
        check_only(self, INVERTED)
        self._check_guidance_pictures()
        if any(not paths for paths in self.target_guidance.values()):
            raise ValueError("target_guidance: a kind has no picture")
        counts = [len(paths) for paths in self.target_guidance.values()] + [len(self.prompts) or 1]
        if wrong := [count for count in counts if count not in (1, max(counts))]:
            raise ValueError(
                f"prompts and target_guidance: there are {max(counts)} of one and {wrong[0]} of another; give one for "
                "all targets, or one for each"
            )
        return self

    def _check_guidance_pictures(self) -> None:
        given = list(dict.fromkeys((*self.source_guidance, *self.target_guidance)))
        if unused := [kind for kind in given if kind not in self.kinds]:
            raise ValueError(
                f"guidance: there is a picture for {unused[0]!r}, which is not in use "
                f"({', '.join(self.kinds) or 'none is'}); name its control as guidance"
            )
        if absent := [kind for kind in self.kinds if kind not in given]:
            raise ValueError(
                f"guidance {absent[0]!r}: it needs pictures; give source_guidance or target_guidance, or leave it out"
            )

    @property
    def prompt_of_source(self) -> str:
        """Under which the source of one target is generated, or inverted."""
        if self.real_source and self.invert_with == "target":
            return self.prompt
        if self.source_prompt is None:
            return "" if self.real_source else self.prompt
        return self.source_prompt

    @property
    def all_seeds(self) -> list[int]:
        """The seeds, or the one of a render's settings."""
        return self.seeds or [self.seed]

    def targets(self, seed: int) -> list[StillSettings]:
        """Settings of each target by itself: one prompt, one seed, one guidance picture of each kind."""
        prompts = self.prompts or [self.prompt]
        count = max(len(prompts), *(len(paths) for paths in self.target_guidance.values()), 1)

        def nth(values: list[Any], n: int) -> Any:
            return values[n if len(values) > 1 else 0]

        return [
            self.model_copy(
                update={
                    "prompt": nth(prompts, n),
                    "prompts": [nth(prompts, n)],
                    "seed": seed,
                    "seeds": [seed],
                    "target_guidance": {kind: [nth(paths, n)] for kind, paths in self.target_guidance.items()},
                }
            )
            for n in range(count)
        ]


def resolve_stills(base: Mapping[str, Any], changes: Mapping[str, Any]) -> StillSettings:
    """Settings of still pictures from a preset and what the user changed.

    Unless the user names it, guidance follows the pictures: a preset's waits for them, and a kind that there is a
    picture of is used where a control has its name.

    Raises:
        UserError: an unknown setting, a value that it cannot have, or a change without effect.
    """
    if "guidance" not in changes:
        base = {**base, "guidance": _guidance_of_pictures({**base, **changes}, base.get("guidance", []))}
    return resolve_as(StillSettings, base, with_scaled_step(base, changes))


def _guidance_of_pictures(merged: Mapping[str, Any], names: Any) -> Any:
    """The preset's controls of the kinds that there are pictures of, then the controls that have a kind's own name."""
    pictures, controls = (merged.get(name) or {} for name in ("target_guidance", "controls"))
    pictures = {**(merged.get("source_guidance") or {}), **pictures} if isinstance(pictures, Mapping) else {}
    if not pictures or not isinstance(controls, Mapping) or not isinstance(names, list):
        return names if pictures else []  # validation says what is wrong
    kinds = {name: control.get("kind") for name, control in controls.items() if isinstance(control, Mapping)}
    used = [name for name in names if kinds.get(name) in pictures]
    covered = {kinds[name] for name in used}
    used += [kind for kind in pictures if kind not in covered and kinds.get(kind) == kind]
    return used or names
