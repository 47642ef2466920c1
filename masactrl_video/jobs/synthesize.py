"""Consistent still pictures: a source and its targets, from prompts or of a real picture (MasaCtrl, Fig. 6 to 10)."""

from __future__ import annotations

from pathlib import Path

from masactrl_video.controls.clip import read_fitted
from masactrl_video.errors import UserError
from masactrl_video.jobs.run.inputs import check_acts
from masactrl_video.jobs.run.report import Tell
from masactrl_video.jobs.run.still_folder import SHEET
from masactrl_video.jobs.shared_source import record_sources
from masactrl_video.jobs.stills import (
    StillCanvas,
    plan_target,
    render_target,
    stills_run,
    with_weights,
    write_source,
)
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.page.sheet import Panel, labelled_sheet
from masactrl_video.settings.stills import StillSettings
from masactrl_video.sources.control import check_source_used
from masactrl_video.video.png import read_png, write_png


def synthesize(
    settings: StillSettings,
    folder: Path,
    *,
    overwrite: bool = False,
    model: DiffusionModel | None = None,
    tell: Tell = lambda event: None,
) -> list[list[Path]]:
    """Make a source and its targets for each seed, and a labelled sheet of them, in `folder`.

    Args:
        settings: with a source prompt or a character, and a prompt, or a guidance picture, for each target.
        folder: for the pictures; an interrupted run goes on.
        overwrite: replace what is there and begin anew.
        model: one that is loaded already.
        tell: called with what happens while it happens (see `report.Tell`).

    Returns:
        For each seed the pictures: the source, then the targets in their order.

    Raises:
        UserError: anything in the settings or the folder cannot be used; nothing is half-written.
    """
    if settings.real_source:
        raise UserError("source_image: here the source is made from a prompt; `edit` changes a given picture")
    if settings.source_prompt is None and settings.character is None:
        raise UserError(
            "source_prompt: missing; say what the source shows (and with prompt what the targets show), or name a "
            "character"
        )
    return _make_pictures(settings, folder, "synthesize", overwrite=overwrite, model=model, tell=tell)


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
    (made,) = _make_pictures(one_seed, folder, "edit", overwrite=overwrite, model=model, tell=tell)
    return made


def _make_pictures(
    settings: StillSettings,
    folder: Path,
    command: str,
    *,
    overwrite: bool,
    model: DiffusionModel | None,
    tell: Tell,
) -> list[list[Path]]:
    """Sources and targets of every seed, and their sheet; see `synthesize`."""
    seeds = settings.all_seeds
    first = settings.targets(seeds[0])
    for target in first:
        check_acts(target)
    made: list[list[Path]] = []
    with stills_run(
        command, settings, folder, first, _check_source, overwrite=overwrite, model=model, tell=tell
    ) as run:
        model, canvas = run.model, run.canvas
        for seed in seeds:
            of_seed = f"-seed{seed}" if len(seeds) > 1 else ""
            targets = settings.targets(seed)
            sources = record_sources(targets, model, canvas)
            error = sources[0].planned.reconstruction_error(sources[0].recorded)
            run.report.figures |= {} if error is None else {"inversion_error": error}
            made.append([folder / f"source{of_seed}.png"])
            write_source(targets[0], model, sources[0].recorded, made[-1][0])
            for number, (target, source) in enumerate(zip(targets, sources, strict=True), 1):
                made[-1].append(folder / f"target-{number}{of_seed}.png")
                render_target(plan_target(target, model, canvas, source.planned, source.recorded), made[-1][-1])
                run.report.picture(sum(map(len, made)) - len(made), len(seeds) * len(targets))
        _write_sheet(settings, canvas, made, folder / SHEET)
    return made


def _check_source(target: StillSettings, model: DiffusionModel) -> None:
    check_source_used(target, with_weights(target, model))


def _write_sheet(settings: StillSettings, canvas: StillCanvas, made: list[list[Path]], path: Path) -> None:
    """A row for each seed, the labels above the first; before an inverted source the picture that was given."""
    given = []
    if settings.source_image is not None:
        given = [Panel("given", read_fitted(settings, settings.source_image, canvas.size_px))]
    source = "source" + (f": {settings.source_prompt}" if settings.source_prompt else "")
    labels = [source, *(target.prompt for target in settings.targets(settings.all_seeds[0]))]
    rows = [
        [
            *given,
            *(Panel("" if number else label, read_png(one)) for label, one in zip(labels, pictures, strict=True)),
        ]
        for number, pictures in enumerate(made)
    ]
    seeds = [f"seed {seed}" for seed in settings.all_seeds] if len(made) > 1 else []
    write_png(path, labelled_sheet(rows, seeds))
