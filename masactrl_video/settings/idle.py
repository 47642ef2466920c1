"""Settings that would have no effect beside the others: refused where somebody asked for them by name.

Presets and configuration files may well hold them: there they wait for the mode that they belong to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from masactrl_video.errors import UserError
from masactrl_video.settings.settings import Settings


def _extracted(kind: str) -> Callable[[Settings], bool]:
    return lambda s: kind in s.kinds and kind not in s.guidance_video


_ACTS: tuple[tuple[tuple[str, ...], Callable[[Settings], bool], str], ...] = (
    (("canny_low_threshold", "canny_high_threshold"), _extracted("canny"), "no edges are extracted"),
    (
        (
            *("pose_detector", "pose_threshold", "pose_json", "pose_canvas", "pose_confidence", "person"),
            *("fill_missing_poses", "fill_pose_gaps", "smooth_poses", "retarget", "retarget_foreshortening"),
        ),
        _extracted("pose"),
        "no poses are drawn",
    ),
    (
        ("pose_detector", "pose_threshold"),
        lambda s: s.pose_json is None or (s.retarget is not None and s.retarget.suffix.lower() != ".json"),
        "pose_json gives the poses",
    ),
    (("retarget_foreshortening",), lambda s: s.retarget is not None, "the poses keep their body without retarget"),
    (("negative_prompt",), lambda s: s.guided, "a guidance_scale of 1 or less is without classifier-free guidance"),
    (
        ("seed",),
        lambda s: not s.real_source or s.noise == "per-frame",
        "all frames start from the inverted source, not from noise of their own",
    ),
    (("source",), lambda s: s.source_image is None, "source_image is the source"),
    (("source_frame",), lambda s: s.source_image is None, "source_image is the source"),
    (("source_frame",), lambda s: s.character is None, "the character is the source"),
    (("source_frame",), lambda s: s.real_source or bool(s.guidance), "without guidance the source knows no frame"),
    (("skip_uncond",), lambda s: s.guided, "a guidance_scale of 1 or less has no unconditional branch"),
    (("vae_tiling",), lambda s: s.taesd is None or s.real_source, "taesd decodes, and nothing is encoded"),
    (("masa_step",), lambda s: s.masa_steps is None, "masa_steps lists the steps"),
    (("masa_layer",), lambda s: s.masa_layers is None, "masa_layers lists the layers"),
    (("mask_threshold", "mask_grid_divisor"), lambda s: s.masked_by_words, "no mask is found by words"),
)
"""Names of settings, when they act, and why they do not otherwise."""


def refuse_idle(settings: Settings, given: Iterable[str]) -> None:
    """See that each setting that was given by name has an effect.

    Raises:
        UserError: one that has none.
    """
    asked = set(given)
    for names, acts, reason in _ACTS:
        for name in names:
            if name in asked and not acts(settings):
                raise UserError(f"{name}: it would have no effect, because {reason}; leave it out")
