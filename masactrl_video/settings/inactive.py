"""Reasons why a setting has no effect, and the refusal of one that was given in vain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from masactrl_video.errors import UserError
from masactrl_video.settings.fields import Inactive, OnlyWhen, option_of, settings_where

if TYPE_CHECKING:  # the record is made of these
    from masactrl_video.settings.settings import Settings


def _extracts(settings: Settings, kind: str) -> bool:
    return kind in settings.kinds and kind not in settings.guidance_video


NO_EDGES = Inactive("no edges are extracted", lambda s: not _extracts(s, "canny"))
NO_POSES = Inactive("no poses are drawn", lambda s: not _extracts(s, "pose"))
POSES_GIVEN = Inactive(
    "pose_json gives the poses",
    lambda s: s.pose_json is not None and (s.retarget is None or s.retarget.suffix.lower() == ".json"),
)
OWN_BODY = Inactive("the poses keep their body without retarget", lambda s: s.retarget is None)
NO_NEGATIVE = Inactive(
    "a guidance_scale of 1 or less is without classifier-free guidance",
    lambda s: not s.guided,
)
NO_UNCONDITIONAL = Inactive(
    "a guidance_scale of 1 or less has no unconditional branch",
    lambda s: not s.guided,
)
INVERTED_NOISE = Inactive(
    "all frames start from the inverted source, not from noise of their own",
    lambda s: s.real_source and s.noise != "per-frame" and not s.sources,
)
PICTURE_IS_SOURCE = Inactive("source_image is the source", lambda s: s.source_image is not None)
CHARACTER_IS_SOURCE = Inactive("the character is the source", lambda s: s.character is not None)
NO_FRAME_IN_SOURCE = Inactive(
    "without guidance the source knows no frame", lambda s: not s.real_source and not s.guidance
)
SOURCES_PLACED = Inactive("the timeline says whose frame", lambda s: bool(s.sources) or s.key_frames is not None)
NO_HAND_OVER = Inactive("there is one source", lambda s: len(s.sources) < 2 and s.key_frames in (None, 1))
NOT_MIXED = Inactive("sources are not mixed without hand_over mix", lambda s: s.hand_over != "mix")
NOT_PLACED = Inactive("no frames are chosen without key_frames auto", lambda s: s.key_frames != "auto")
COLOURS_FREE = Inactive("colours are not held without hold_colours", lambda s: s.hold_colours == 0)
NO_VAE = Inactive("taesd decodes, and nothing is encoded", lambda s: s.taesd is not None and not s.real_source)
KEPT_LIVE = Inactive("keys and values of a live source are kept nowhere", lambda s: s.source_storage == "live")
STEPS_LISTED = Inactive("masa_steps lists the steps", lambda s: s.masa_steps is not None)
LAYERS_LISTED = Inactive("masa_layers lists the layers", lambda s: s.masa_layers is not None)
NO_MASKS = Inactive("there are no masks without attention_mode masked", lambda s: not s.masked)
NO_MASK_BY_WORDS = Inactive("no mask is found by words", lambda s: not (s.masked_by_words or s.cast))

MASKED = OnlyWhen("{name} belongs to attention_mode masked", lambda s: s.masked)
STILL = OnlyWhen("{name} belongs to background still", lambda s: s.background == "still")
POSED = OnlyWhen("{name} belongs to source_positions pose", lambda s: s.source_positions == "pose")
ON_RAY = OnlyWhen("{name} belongs to engine ray", lambda s: s.engine == "ray")
INVERTED = OnlyWhen(
    "{name}: only a given picture is inverted; leave it out, or give source_image", lambda s: s.real_source
)


def refuse_idle(settings: Settings, given: Iterable[str]) -> None:
    """See that each setting that was given by name has an effect.

    Raises:
        UserError: one that has none.
    """
    asked, record = set(given), type(settings)
    for name in record.model_fields:
        for reason in option_of(record, name).inactive if name in asked else ():
            if reason.when(settings):
                raise UserError(f"{name}: it would have no effect, because {reason.because}; leave it out")


def check_only(settings: Settings, condition: OnlyWhen) -> None:
    """See that what belongs to a condition keeps its default without it. Raises ValueError, for validation."""
    if condition.holds(settings):
        return
    record = type(settings)
    for name in settings_where(record, lambda about: about.only is condition):
        if getattr(settings, name) not in (record.model_fields[name].default, "", []):
            raise ValueError(condition.complaint.format(name=name))
