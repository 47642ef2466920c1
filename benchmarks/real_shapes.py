"""Memory and time of SD-1.5 and SDXL shaped models with random weights, on the CPU.

``python benchmarks/real_shapes.py --tokenizer FOLDER_OF_A_CLIP_TOKENIZER``

Each configuration runs in a process of its own, so that their peaks of memory do not mix.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import masactrl_video

FRAMES = 2
STEPS = 2
SIZES = ("512x512", "768x448")
TOKENIZER = Path(masactrl_video.__file__).parent / "demo" / "weights" / "tokenizer"


def measure(name: str, size: str, tokenizer: Path, folder: Path) -> dict[str, Any]:
    """Build a model, record its source, render two frames and between them one by diffusers alone."""
    import torch  # the process that only starts the others stays small
    from clip import Clip, random_pictures, timed
    from shapes import FAMILIES, build_controlnet, build_pipeline

    from masactrl_video.attention.plan import plan_control
    from masactrl_video.model.backbones.unet.controls import GuidanceNetwork
    from masactrl_video.model.diffusion import DiffusionModel
    from masactrl_video.model.prompts import encode_prompt
    from masactrl_video.render.chunks import render_frames

    family, dtype = FAMILIES[name], torch.float32
    width, height = (int(side) for side in size.split("x"))
    built = timed(lambda: build_pipeline(name, tokenizer, dtype))
    pipe = built.result
    text = encode_prompt(DiffusionModel(pipe), "a bear in the meadow", "", 7.5, (height, width))
    pipe.text_encoder = pipe.text_encoder_2 = None  # done with: SDXL's need 3 GB
    controlnet = timed(lambda: build_controlnet(name, dtype))
    model = DiffusionModel(pipe, (GuidanceNetwork("pose", controlnet.result),))
    plan = plan_control(pipe.unet, STEPS, masa_step=0, masa_layer=family.masa_layer)
    clip = Clip(model, text, random_pictures(FRAMES, height, width), STEPS)
    source = timed(lambda: clip.record(folder / "cache", plan))
    job, plain = clip.job(source.result, plan), clip.plain()
    paths = [folder / f"{frame}.png" for frame in range(FRAMES)]

    def ours(frame: int) -> dict[str, Any]:  # earlier frames are there already and are not rendered again
        return render_frames(job, paths[: frame + 1], batch_size=1, chunk_frames=1, text={})["attention"]

    first, reference, second = timed(lambda: ours(0)), timed(lambda: plain([1])), timed(lambda: ours(1))
    mean_seconds = (first.seconds + second.seconds) / 2  # around the plain frame: a steady drift cancels out
    mean_cpu_seconds = (first.cpu_seconds + second.cpu_seconds) / 2
    weights = sum(p.nbytes for part in (pipe.unet, pipe.vae, controlnet.result) for p in part.parameters())
    return {
        "model": name,
        "size": size,
        "steps": STEPS,
        "dtype": str(dtype).removeprefix("torch."),
        "weights_bytes": weights,
        "build_seconds": built.seconds + controlnet.seconds,
        "source_seconds": source.seconds,
        "frame_seconds": mean_seconds,
        "plain_seconds": reference.seconds,
        "ratio": mean_seconds / reference.seconds,
        "cpu_ratio": mean_cpu_seconds / reference.cpu_seconds,
        "cache_bytes": sum(file.bytes for file in source.result.entry.index.files.values()),
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,  # Linux counts in KiB
        "calls": sum(frame.result["controlled_attention_calls"] for frame in (first, second)),
        "expected_calls": FRAMES * STEPS * (family.self_attention_layers - family.masa_layer),
    }


def as_row(figures: dict[str, Any]) -> dict[str, str]:
    """A line of the table."""
    return {
        "model": figures["model"],
        "size": figures["size"].replace("x", "×"),
        "steps": str(figures["steps"]),
        "dtype": figures["dtype"],
        "weights, GB": f"{figures['weights_bytes'] / 1e9:.1f}",
        "build, s": f"{figures['build_seconds']:.0f}",
        "source + record, s": f"{figures['source_seconds']:.0f}",
        "our frame, s": f"{figures['frame_seconds']:.1f}",
        "plain frame, s": f"{figures['plain_seconds']:.1f}",
        "our ÷ plain": f"{figures['ratio']:.2f}",
        "in CPU time": f"{figures['cpu_ratio']:.2f}",
        "cache, MB": f"{figures['cache_bytes'] / 1e6:.0f}",
        "peak memory, GB": f"{figures['peak_bytes'] / 1e9:.1f}",
        "controlled calls (expected)": f"{figures['calls']} ({figures['expected_calls']})",
    }


def in_own_process(name: str, size: str, tokenizer: Path) -> dict[str, Any]:
    """Measure in a process that has nothing else in memory."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--only", name, size, "--tokenizer", str(tokenizer), "--figures", folder]
        subprocess.run(command, check=True)
        figures: dict[str, Any] = json.loads((Path(folder) / "figures.json").read_text())
        return figures


def main() -> None:
    """Measure all configurations, or the one that `--only` names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, default=TOKENIZER, help="folder (default: the demo model's)")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"), help="table to write")
    parser.add_argument("--only", nargs=2, metavar=("MODEL", "SIZE"), help="measure one, e.g. SD-1.5 512x512")
    parser.add_argument("--figures", type=Path, help="with --only: folder for the figures, instead of a table")
    arguments = parser.parse_args()
    if arguments.figures:
        figures = measure(*arguments.only, arguments.tokenizer, arguments.figures)
        (arguments.figures / "figures.json").write_text(json.dumps(figures))
        return
    from table import write_table

    chosen = (
        [tuple(arguments.only)] if arguments.only else [(name, size) for name in ("SD-1.5", "SDXL") for size in SIZES]
    )
    rows = []
    for name, size in chosen:  # written after each: a run takes long
        rows.append(as_row(in_own_process(name, size, arguments.tokenizer)))
        write_table(arguments.output, "Real shapes, random weights, CPU", rows)


if __name__ == "__main__":
    main()
