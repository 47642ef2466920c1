"""What several sources and held colours give and cost on drawn clips: python benchmarks/long_clips.py [--cases N]

Held-out characters of the cartoon world dance. In the middle of the clip they put on what the first frame did not show:
dots, a scarf and a hat. Sources are frames of the clip itself, frames are guided by poses.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from turns import by_turns, ratio

from masactrl_video.demo.clip import clip_frames
from masactrl_video.demo.world.frame import Frame
from masactrl_video.demo.world.identity import FULL_WORLD, Identity
from masactrl_video.evaluate.cases import make_cases
from masactrl_video.evaluate.figures import error_on_figure
from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.measure.colour import delta_e, mean_colour, slope
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.from_settings import model_from_settings
from masactrl_video.render.executor import LocalExecutor
from masactrl_video.render.frames import FramesJob
from masactrl_video.render.plan import RenderPlan
from masactrl_video.render.steps import RenderSteps
from masactrl_video.settings.presets import read_preset, resolve
from masactrl_video.video.png import read_png

SIZE_PX = 128
Pictures = list[NDArray[np.uint8]]


def drawn(identity: Identity, frames: int) -> list[Frame]:
    """The exact clip: plain in its first half, with pattern, scarf and hat in its second."""
    plain = replace(identity, pattern="plain", hat="none", scarf="none")
    dressed = replace(identity, pattern="dots", hat="cap", scarf="yellow")
    halves = (list(clip_frames(one, "dancing", frames, SIZE_PX)) for one in (plain, dressed))
    return [
        second if number >= frames // 2 else first for number, (first, second) in enumerate(zip(*halves, strict=True))
    ]


class Bench:
    """One clip, and ways to render it."""

    def __init__(self, exact: Sequence[Frame], folder: Path, steps: int, model: DiffusionModel | None = None) -> None:
        self.exact, self.folder = exact, folder
        (folder / "clip").mkdir(parents=True)
        for number, frame in enumerate(exact):
            Image.fromarray(frame.image).save(folder / "clip" / f"{number:04d}.png")
        self.base = {
            **read_preset("demo"),
            "clip": folder / "clip",
            "cache_dir": folder / "cache",
            "guidance": ["pose"],
            "prompt": exact[0].caption,
            "num_inference_steps": steps,
            "masa_step": max(1, steps // 10),
            "side_by_side": False,
        }
        self.model = model or model_from_settings(resolve(self.base, {}))

    def render(self, name: str, **changes: Any) -> Pictures:
        """The frames of one way."""
        outputs = Outputs(self.folder / f"{name}.mp4")
        render_clip(resolve(self.base, changes), outputs.video, overwrite=True, model=self.model)
        return [read_png(path) for path in outputs.frames(len(self.exact))]

    def error(self, pictures: Pictures, half: slice) -> float:
        """Mean error on the character, in levels of 255."""
        return statistics.mean(
            error_on_figure(picture, frame) for picture, frame in list(zip(pictures, self.exact, strict=True))[half]
        )

    def colour(self, pictures: Pictures) -> tuple[float, float, float]:
        """ΔE2000 of the character's mean colour to the exact frame's: mean, slope for 100 frames, deviation."""
        pairs = [
            (mean_colour(picture, frame.mask), mean_colour(frame.image, frame.mask))
            for picture, frame in zip(pictures, self.exact, strict=True)
        ]
        away = np.array(
            [(n, delta_e(one, own)) for n, (one, own) in enumerate(pairs) if one is not None and own is not None]
        )
        return float(away[:, 1].mean()), slope(away), float(away[:, 1].std())

    def cost(self, rounds: int) -> dict[str, float]:
        """Denoising of a batch with held colours ÷ without, from aligning it and a step of it, by turns."""
        jobs: list[FramesJob] = []

        def start(plan: RenderPlan, job: FramesJob, progress: RenderSteps) -> LocalExecutor:
            jobs.append(job)
            return LocalExecutor(plan, job, progress)

        settings = resolve(self.base, {"source": "clip", "hold_colours": 1})
        render_clip(settings, self.folder / "cost.mp4", overwrite=True, model=self.model, executor=start)

        job, frames, last = jobs[0], range(4), len(jobs[0].scheduler.timesteps) - 1
        with job.controlled() as control:
            batch, alter = job.batch(frames), job.holding_colours(control, frames)
            job.denoising.step(batch, last)
            assert alter is not None and job.colours is not None

            def step() -> None:
                batch.scheduler = copy.deepcopy(job.scheduler)
                job.denoising.step(batch, last)

            ways = {"align": partial(alter, batch.latents, batch.latents, last), "step": step}
            found = ratio(by_turns(ways, rounds, warm_up=3), "align", "step")
        late = (last + 1 - job.colours.first_step) / (last + 1)
        return {name: 1 + late * found[name] for name in ("cpu", "cpu_low", "cpu_high")}

    def seam(self, pictures: Pictures, at: int) -> float:
        """Difference from the frame before to frame `at`, on the character, ÷ the median of all neighbours'."""
        steps = [float(np.abs(np.subtract(b, a, dtype=np.float64)).mean()) for a, b in pairwise(pictures)]
        return steps[at - 1] / statistics.median(steps)


def sources(frames: int) -> dict[str, dict[str, Any]]:
    """Ways to render, by name."""
    both = {"sources": {"0": "clip", str(frames // 2): "clip"}}
    return {
        "without": {"masa_steps": [], "source": "clip"},
        "one source": {"source": "clip"},
        "two, nearest": both,
        "two, mixed over 2": {**both, "hand_over": "mix", "hand_over_frames": 2},
    }


def print_cost(frames: int, steps: int, rounds: int) -> None:
    """What holding colours costs, on the first case."""
    with tempfile.TemporaryDirectory() as folder:
        exact = drawn(make_cases(1, 1, SIZE_PX, FULL_WORLD)[0].identity, frames)
        cost = Bench(exact, Path(folder) / "cost", steps).cost(rounds)
    low, high = cost["cpu_low"], cost["cpu_high"]
    print(f"colours held ÷ free, CPU time of denoising: {cost['cpu']:.4f} ({low:.4f} to {high:.4f})")


def sheet(rows: Sequence[Pictures], path: Path) -> None:
    """A picture of all ways, a row for each."""
    Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in rows])).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--cost", action="store_true", help="only what holding colours costs")
    parser.add_argument("--sheet", type=Path, help="write a picture of the first case here")
    args = parser.parse_args()
    if args.cost:
        print_cost(args.frames, args.steps, args.rounds)
        return
    ways, half, model = sources(args.frames), slice(args.frames // 2, None), None
    table: dict[str, list[list[float]]] = {way: [] for way in (*ways, "two, colours held")}
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(make_cases(args.cases, 1, SIZE_PX, FULL_WORLD)):
            bench = Bench(drawn(case.identity, args.frames), Path(folder) / str(number), args.steps, model)
            model = bench.model
            made = {way: bench.render(f"w{n}", **changes) for n, (way, changes) in enumerate(ways.items())}
            made["two, colours held"] = bench.render("held", **ways["two, nearest"], hold_colours=1)
            if args.sheet and number == 0:
                sheet([[frame.image for frame in bench.exact], *made.values()], args.sheet)
            bases = [bench.error(made["without"], part) for part in (slice(0, args.frames // 2), half)]
            for way, pictures in made.items():
                errors = [bench.error(pictures, part) for part in (slice(0, args.frames // 2), half)]
                table[way].append(
                    [e / base for e, base in zip(errors, bases, strict=True)]
                    + [bench.seam(pictures, args.frames // 2), *bench.colour(pictures)]
                )
        print("| way | error ÷ without, first half | second half | seam | ΔE mean | ΔE slope | ΔE deviation |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for way, rows in table.items():
            print(
                f"| {way} | "
                + " | ".join(f"{statistics.mean(column):.2f}" for column in zip(*rows, strict=True))
                + " |"
            )


if __name__ == "__main__":
    main()
