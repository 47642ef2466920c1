"""All figures that there are."""

from __future__ import annotations

from dataclasses import replace

from masactrl_video.measure.colour import DISTANCE, DRIFT, REGIONS, SPREAD
from masactrl_video.measure.fidelity import EDIT_STRENGTH, MSE, OUTSIDE_PSNR, PSNR, SSIM
from masactrl_video.measure.figure import Definition
from masactrl_video.measure.following import OKS, PCK_HEAD, PCK_TORSO
from masactrl_video.measure.learned import BACKGROUND, CLIP_FRAMES, CLIP_TEXT, DREAMSIM, LPIPS, SUBJECT
from masactrl_video.measure.motion import DYNAMIC
from masactrl_video.measure.steadiness import FLICKER, SEAM, WARP_ERROR

_COLOUR = [
    replace(about, name=about.name + region, title=about.title + more)
    for region, more in REGIONS.items()
    for about in (DISTANCE, DRIFT, SPREAD)
]

DEFINITIONS: dict[str, Definition] = {
    about.name: about
    for about in (
        *(WARP_ERROR, FLICKER, SEAM),
        *(PCK_TORSO, PCK_HEAD, OKS, DYNAMIC),
        *_COLOUR,
        *(PSNR, OUTSIDE_PSNR, SSIM, MSE, EDIT_STRENGTH),
        *(SUBJECT, BACKGROUND, CLIP_FRAMES, CLIP_TEXT, LPIPS, DREAMSIM),
    )
}
"""By name."""
