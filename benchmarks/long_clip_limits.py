"""What a still ground saves in a wide picture, and what limits colours and flicker, beside the means of long clips."""

from __future__ import annotations

import numpy as np
import torch
from drawn_clip import SIZE_PX, DrawnClip, Pictures
from long_clip_means import FLICKER, Row, Studio, drift, flicker, mean

from masactrl_video.demo.clip import clip_frames
from masactrl_video.demo.world.frame import Frame, draw_frame
from masactrl_video.demo.world.identity import Identity
from masactrl_video.demo.world.poses import pose_of
from masactrl_video.evaluate.figures import error_off_figure, error_on_figure
from masactrl_video.model.sampling.colours import moments
from masactrl_video.model.sampling.latents import decode_latents, encode_picture
from masactrl_video.render.frames import denoise_chunk

_FEW = 12
"""Frames of which limits are measured."""


def still(studio: Studio) -> list[Row]:
    """A still ground whose figures alone are denoised, in a picture twice as wide as high."""
    rows = []
    for margin in (2, 4):
        errors: dict[str, list[float]] = {"on": [], "on whole": [], "off": [], "off whole": []}
        costs = []
        for identity in studio.identities()[:1]:
            exact = _wide(identity, min(studio.frames, 3))
            clip, masked = studio.clip(exact), _masked(identity)
            plain = clip.render("plain", **masked)
            whole = clip.render("whole", **masked, background="still")
            window = clip.render("window", **masked, background="still", still_margin=margin)
            for name, made in (("", window), (" whole", whole)):
                errors[f"on{name}"] += [error_on_figure(*pair) for pair in zip(made, exact, strict=True)]
                errors[f"off{name}"] += [error_off_figure(*pair) for pair in zip(made, exact, strict=True)]
            costs.append((clip.cost("whole", "plain"), clip.cost("window", "plain")))
            studio.show(f"still-{margin}", exact, {"masked": plain, "whole": whole, "window": window})
        before, after = (mean(row[n] for row in costs) for n in (0, 1))
        means = f"still, margin {margin}, 256x128"
        rows += [
            Row(means, "cost ÷ masked mode", before, after, "≤ 0.95", after <= 0.95, after),
            Row(means, "error on the character, levels", mean(errors["on whole"]), mean(errors["on"]), ""),
            Row(means, "error on the ground, levels", mean(errors["off whole"]), mean(errors["off"]), ""),
        ]
    return rows


def limits(studio: Studio) -> list[Row]:
    """Colours and flicker of what no means for them can be better than, and of all means for them together."""
    identity = studio.identities()[0]
    exact = list(clip_frames(identity, "dancing", min(studio.frames, _FEW), SIZE_PX, cycle=24))
    clip, masked = studio.clip(exact), _masked(identity)
    ways = {
        "source mode": clip.render("source", source="clip"),
        "masked": clip.render("masked", **masked),
        "masked, held colours": clip.render("held", **masked, hold_colours=1),
        "masked, held colours, noise body, S = 0": clip.render(
            "all", **masked, hold_colours=1, noise="body", masa_step=0
        ),
        "the mean colours of each exact frame": _told_means(clip, "masked"),
        "exact frames through the autoencoder": _through_autoencoder(clip, exact),
    }
    studio.show("limits", exact, ways)
    plain = ways["source mode"]
    rows = []
    for name, made in list(ways.items())[1:]:
        rows.append(Row(name, "ΔE2000, deviation", drift(plain, exact)[1], drift(made, exact)[1], ""))
        rows.append(Row(name, FLICKER, flicker(plain, exact), flicker(made, exact), ""))
    return rows


def _masked(identity: Identity) -> dict[str, object]:
    return {"source": "clip", "attention_mode": "masked", "mask_words": [identity.species, "shirt", "pants"]}


def _wide(identity: Identity, frames: int) -> list[Frame]:
    poses = [pose_of("dancing", number / 24, x=1.0, ground=0.94, height=0.78) for number in range(frames)]
    return [draw_frame(identity, pose, "dancing", SIZE_PX, 2 * SIZE_PX) for pose in poses]


@torch.no_grad()
def _through_autoencoder(clip: DrawnClip, exact: list[Frame]) -> Pictures:
    return [decode_latents(clip.model, encode_picture(clip.model, frame.image))[0] for frame in exact]


@torch.no_grad()
def _told_means(clip: DrawnClip, way: str) -> Pictures:
    """Frames whose figure gets the mean of the exact frame's own latents there, which nobody could know."""
    made: Pictures = []
    for number, frame in enumerate(clip.exact):
        with clip.jobs[way].controlled() as control:
            (latents,) = denoise_chunk(clip.jobs[way], control, [[number]])
            figure = control.figures.target_figure()
        assert figure is not None
        wanted, own = (
            moments(states, figure)[:, 0, :, None, None]
            for states in (encode_picture(clip.model, np.asarray(frame.image)), latents)
        )
        made.append(decode_latents(clip.model, torch.where(figure[:, None], latents - own + wanted, latents))[0])
    return made
