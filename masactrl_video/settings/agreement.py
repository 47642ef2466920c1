"""Settings that must agree with each other; what does not is said in one line, for the validation of settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from masactrl_video.errors import UserError, counted
from masactrl_video.settings.modes import check_neighbour_mode
from masactrl_video.settings.timeline import CLIP, GENERATED, source_frames

if TYPE_CHECKING:  # the record asks these
    from masactrl_video.settings.settings import Settings


INVERTIBLE = ("ddim", "flow")
"""Schedulers by which a real picture can be the source."""
_OF_CLIP = (CLIP, GENERATED)
"""First sources whose pose is that of the clip's frame."""


def check_guidance(settings: Settings) -> None:
    """Controls that exist, each once, and what is said of them. Raises ValueError, as all of these do."""
    unknown = [name for name in settings.guidance if name not in settings.controls]
    if unknown:
        known = ", ".join(settings.controls) or "none"
        raise ValueError(
            f"guidance: there is no control named {unknown[0]!r}; there are: {known}; --controlnet {unknown[0]}=MODEL "
            f"names a network, and --reference-picture {unknown[0]} has FLUX.2 itself read the pictures"
        )
    if len(set(settings.guidance)) != len(settings.guidance):
        raise ValueError("guidance: a control is named twice")
    if settings.smooth_poses is not None and settings.smooth_poses % 2 == 0:
        raise ValueError(
            f"smooth_poses: got {settings.smooth_poses}; the window has a middle frame: give an odd number"
        )
    unused = [kind for kind in settings.guidance_video if kind not in settings.kinds]
    if unused:
        raise ValueError(
            f"guidance_video: {unused[0]!r} is not among the guidance in use ({', '.join(settings.kinds) or 'none'})"
        )


def check_source(settings: Settings) -> None:
    """One source, and a scheduler that can invert it."""
    if settings.source_image is not None and settings.source == "clip":
        raise ValueError("source_image and source clip exclude each other: name one source")
    if settings.character is not None:
        if settings.source_image is not None:
            raise ValueError(
                "character and source_image exclude each other: name one source; characters of FLUX.2 klein-kv stand "
                "beside a picture as references"
            )
        for name in ("source_prompt", "source_caption"):
            if getattr(settings, name) is not None:
                raise ValueError(f"character and {name} exclude each other: name one source")
        if settings.source == "clip":
            raise ValueError("character and source clip exclude each other: name one source")
    if settings.references:
        named = [settings.character, *settings.references]
        if twice := [name for name in named if named.count(name) > 1]:
            raise ValueError(f"references: {twice[0]!r} is named twice; once is enough")
    if settings.real_source and settings.scheduler not in INVERTIBLE:
        raise ValueError(
            f"scheduler {settings.scheduler}: a real source is inverted with ddim, or a flow by its own steps "
            "(flow); take that, or a generated source"
        )


def check_positions(settings: Settings) -> None:
    """Keys that go with the limbs: there are poses."""
    if settings.source_positions != "pose":
        return
    if "pose" not in settings.kinds:
        raise ValueError(
            "source_positions pose: it goes by the skeletons of guidance pose, which is not in use "
            f"({', '.join(settings.kinds) or 'none is'}); give --guidance pose, or shifted or free"
        )
    if "pose" in settings.guidance_video:
        raise ValueError(
            "source_positions pose: guidance pose is given as pictures (guidance_video), which tell no poses; give "
            "pose_json, or shifted or free"
        )


def check_noise(settings: Settings) -> None:
    """Noise that follows bodies, which must be known in the source and in the frames."""
    if settings.noise != "body":
        return
    if "pose" not in settings.kinds or "pose" in settings.guidance_video:
        raise ValueError("noise body: it follows poses; take guidance pose, not as ready-made pictures")
    first = dict(source_frames(settings)).get(0, "clip")
    if settings.source_image is not None or settings.character is not None or settings.cast or first not in _OF_CLIP:
        raise ValueError(
            "noise body: where the body stands is known of a source that is a frame of the clip, or is generated under "
            "its guidance; take one of these, or noise shared"
        )


def check_neighbour(settings: Settings) -> None:
    """The frame before, of which no figure is known."""
    if not settings.neighbour:
        return
    if settings.cast:
        raise ValueError("cast and neighbour exclude each other: the people of the frame before are not told apart")
    try:
        check_neighbour_mode(settings.attention_mode)
    except UserError as error:
        raise ValueError(str(error)) from error


def check_masks(settings: Settings) -> None:
    """A mode with masks: one of the source and one of the frames."""
    mode = f"attention_mode {settings.attention_mode}"
    if not settings.mask_words and settings.target_masks is None:
        raise ValueError(f"{mode}: give mask_words, the object's words in the prompt, or target_masks")
    if not settings.mask_words and not settings.source_mask_words and settings.source_mask is None:
        raise ValueError(f"{mode}: give the source's mask too: mask_words, source_mask_words or source_mask")
    if settings.source_mask is not None and settings.source_mask_words:
        raise ValueError("source_mask and source_mask_words exclude each other: name one mask of the source")
    if (
        settings.target_masks is not None
        and settings.mask_words
        and (settings.source_mask or settings.source_mask_words)
    ):
        raise ValueError("mask_words: target_masks and the source's own mask leave them without effect")
    if settings.source_caption is not None and (settings.source_mask is not None or not settings.real_source):
        raise ValueError("source_caption: it finds the object in an inverted source that has no source_mask")
    if settings.mask_attributes and (settings.target_masks is not None or not settings.mask_words):
        raise ValueError("mask_attributes: they join what mask_words find, in the frames too; leave them out")
    if settings.background == "clip" and settings.scheduler not in INVERTIBLE:
        raise ValueError(
            f"background clip: its frames are inverted with ddim, not with {settings.scheduler}, or a flow's by its "
            "own steps (flow); take that, or another background"
        )
    if settings.background == "still" and settings.still_margin != "all" and settings.reuse_deep_features:
        raise ValueError("still_margin and reuse_deep_features exclude each other: deep features are of whole pictures")
    if settings.save_masks and settings.target_masks is not None:
        raise ValueError("save_masks: target_masks are given, so there are no others to save")


def check_speed(settings: Settings) -> None:
    """What makes frames cheaper, in time or memory."""
    skipped, steps = settings.unguided_steps, settings.num_inference_steps
    if settings.skip_uncond and settings.guided and not 0 < skipped < steps:
        raise ValueError(
            f"skip_uncond: {settings.skip_uncond:g} of {counted(steps, 'step')} is {skipped}; "
            "give a part that skips at least one and leaves at least one"
        )
    if settings.batch_size is not None and settings.batch_size > settings.chunk_frames:
        raise ValueError(
            f"batch_size {settings.batch_size} is more than chunk_frames, {settings.chunk_frames}: the frames in memory"
        )
    if settings.compile and settings.offload == "sequential":
        raise ValueError("compile: it joins layers, and offload sequential parts them: leave one out, or offload model")
    by_words = settings.masked and settings.target_masks is None
    if settings.reuse_deep_features is not None and by_words:
        raise ValueError(
            "reuse_deep_features: masks by words come from layers that it leaves out; give target_masks or another mode"
        )
