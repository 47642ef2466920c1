"""Consistent video frames from an image diffusion model, without training (MasaCtrl, arXiv 2304.08465)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from masactrl_video.attention.record import record_source as record_source
    from masactrl_video.attention.use import use_source as use_source
    from masactrl_video.errors import UserError as UserError
    from masactrl_video.jobs.measure.report import measure_clip as measure_clip
    from masactrl_video.jobs.render_clip import render_clip as render_clip
    from masactrl_video.measure.options import MeasureOptions as MeasureOptions
    from masactrl_video.model.diffusion import DiffusionModel as DiffusionModel
    from masactrl_video.progress import Cancelled as Cancelled
    from masactrl_video.progress import CancelToken as CancelToken
    from masactrl_video.settings.settings import Settings as Settings

__version__ = "0.1.0"

_HOMES = {
    "record_source": "attention.record",
    "use_source": "attention.use",
    "UserError": "errors",
    "DiffusionModel": "model.diffusion",
    "CancelToken": "progress",
    "Cancelled": "progress",
    "Settings": "settings.settings",
    "render_clip": "jobs.render_clip",
    "measure_clip": "jobs.measure.report",
    "MeasureOptions": "measure.options",
}
"""The public names and the modules they live in; imported when they are asked for, so that `--help` need not wait."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
