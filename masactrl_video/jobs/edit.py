"""A real picture, changed by a prompt without losing what it shows (MasaCtrl, Fig. 7, 8)."""

from __future__ import annotations

from pathlib import Path

from masactrl_video.errors import UserError
from masactrl_video.jobs.run.report import Tell
from masactrl_video.jobs.synthesize import make_pictures
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.settings.stills import StillSettings


def edit(
    settings: StillSettings,
    folder: Path,
    *,
    overwrite: bool = False,
    model: DiffusionModel | None = None,
    tell: Tell = lambda event: None,
) -> list[Path]:
    """Invert a picture and make its targets, and a labelled sheet of them, in `folder`.

    Args:
        settings: with `source_image`, and a prompt, or a guidance picture, for each target.
        folder: for the pictures; an interrupted run goes on.
        overwrite: replace what is there and begin anew.
        model: one that is loaded already.
        tell: called with what happens while it happens (see `report.Tell`).

    Returns:
        The pictures: the reconstructed source, then the targets in their order.

    Raises:
        UserError: anything in the settings or the folder cannot be used; nothing is half-written.
    """
    if settings.source_image is None:
        raise UserError("source_image: missing; name the picture on the command line, or set it in the configuration")
    one_seed = settings.model_copy(update={"seeds": []})  # an inverted picture has its own noise
    (made,) = make_pictures(one_seed, folder, "edit", overwrite=overwrite, model=model, tell=tell)
    return made
