"""The words that settings choose between, for the modules that act on them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

FitMode = Literal["crop", "pad", "resize"]
"""How frames get the model's size: scale to cover and cut, scale to fit inside and add black bars, or stretch."""

AdapterKind = Literal["controlnet", "t2i-adapter", "reference"]
"""How guidance comes to a model: by a network, or as a picture that the model itself reads beside its own (FLUX.2)."""

DtypeName = Literal["float32", "float16", "bfloat16"]
"""Number formats of a model."""

OffloadKind = Literal["model", "sequential"]
"""What comes to the GPU at a time: text encoders, denoiser with guidance networks, or VAE; or one layer."""

CacheDtype = Literal["exact", "float16", "bfloat16", "float8", "int8"]
"""How recorded keys and values are stored: in the model's own number format, or smaller."""

SourceStorage = Literal["auto", "cache", "live"]
"""Where a source's keys and values are: on the disk, or nowhere, made again when they are asked for."""

SchedulerName = Literal["ddim", "ddpm", "dpm++", "unipc", "deis", "euler", "euler-a", "lcm", "flow"]
"""Schedulers that visit each timestep of a fixed list once; `flow` is for models of flow matching alone."""

SourcePositions = Literal["as-is", "shifted", "free", "pose"]
"""Where a source's keys stand in a transformer that knows places: as in the source, beside the frame, nowhere, or each
where the limb that it shows is in the frame."""

PredictionType = Literal["epsilon", "v_prediction", "sample"]
"""What a UNet predicts: the noise, a velocity (SD-2.x at 768 px, models that are called "vpred"), or the picture."""

NoiseKind = Literal["shared", "per-frame", "body"]
"""Initial noise: the source's for all frames, another for each, or the source's, moved with the bodies."""

Background = Literal["source", "own", "still", "clip"]
"""What stands behind the figure in modes with masks: the source's ground, attended to; the frame's own; the source's
latents themselves; or the ground of the clip's own frame, inverted."""

Rim = int | Literal["auto"]
"""Width of what belongs to both sides of a mask, in latent points; `auto`: by the slope of the map at its edge."""

MaskCells = Literal["nearest", "area"]
"""When a cell of a coarser layer is the object's: if the first of its points is, or if half of its area is."""

StillMargin = int | Literal["all"]
"""Latent points around a frame's own part that are denoised with it, before a still ground; `all`: the whole."""

HandOver = Literal["nearest", "mix"]
"""How frames go from one source to the next: at once, or with both in one softmax meanwhile."""

Easing = Literal["linear", "ease-in-out", "catmull-rom"]
"""How poses go from key to key: at constant speed; at rest at every key (smoothstep, 3w² - 2w³); or through the keys
without rest, with the speed of the keys before and after."""

Ground = Literal["self", "first"]
"""What the parts of a picture attend to that belong to no character: their own picture, or the first's background."""

_MOST_NAME_BYTES = 200


def _fits_a_file_name(name: str) -> str:
    if len(name.encode()) > _MOST_NAME_BYTES:
        raise ValueError(f"a name has at most {_MOST_NAME_BYTES} bytes, got {len(name.encode())}")
    return name


Name = Annotated[
    str,
    Field(pattern=r"^[\p{L}\p{N}](?:[\p{L}\p{M}\p{N}_ .'’-]{0,62}[\p{L}\p{M}\p{N}_-])?$"),
    AfterValidator(_fits_a_file_name),
]
"""Of a character, in the letters of any script: it becomes part of file names."""
Fraction = Annotated[float, Field(ge=0, le=1)]
Box = tuple[Fraction, Fraction, Fraction, Fraction]
"""Left, top, right, bottom in fractions of the panel."""

OWN_MODELS = ("demo", "demo-dit")
"""Models that ship with the package. They know the cartoon world alone."""


def ships(name: str) -> bool:
    """Whether a name means a model that ships with the package, or what lies in its folder."""
    return name.partition("/")[0] in OWN_MODELS
