"""The table of all figures, as Markdown."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch

Results = Mapping[str, Any]


def about() -> str:
    """What made a part's figures."""
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return (
        f"`{command}`, {os.cpu_count()} cores ({platform.machine()}), {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, diffusers {diffusers.__version__}"
    )


def as_markdown(results: Results) -> str:
    """All parts that were ever measured."""
    blocks = [
        "# Results\n\nMade by `python benchmarks/run.py`; what each figure means: [README](README.md). A ratio is the "
        "median of ratios within one round, all ways by turns in one process; CPU time is that of all threads, and in "
        "brackets stand its smallest and largest ratio. Below 1 is faster.",
        _table(["figure", "where", "on the clock", "CPU time", "target", "holds (CPU time)"], list(_ratios(results))),
        _bounds(results),
        _gpu_memory(results),
        _on_gpu(results),
        _options(results),
        "## Made by\n\n" + "\n".join(f"- {part}: {found['about']}" for part, found in results.items()),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if rows else ""


def _row(figure: str, where: str, ratio: Mapping[str, float], target: float | None) -> list[str]:
    spread = f" ({ratio['cpu_low']:.2f}–{ratio['cpu_high']:.2f})" if ratio["rounds"] > 1 else ""
    holds = "" if target is None else "yes" if round(ratio["cpu"], 2) <= target else "no"
    wanted = "" if target is None else f"≤ {target:.2f}"
    return [figure, where, f"{ratio['clock']:.2f}", f"{ratio['cpu']:.2f}{spread}", wanted, holds]


TARGETS = {
    "source ÷ plain": ("our frame ÷ plain ControlNet frame", 1.0),
    "union ÷ plain": ("the same in mode union", None),
    "masked ÷ plain": ("the same in mode masked", None),
    "source ÷ recomputed": ("our frame ÷ source recomputed with each frame", 0.5),
    "masked ÷ source": ("masked ÷ unmasked", 1.0),
}


def _ratios(results: Results) -> Iterator[list[str]]:
    places = [
        (f"demo, {size} frame{'s' if size != '1' else ''} a batch", found["ratios"])
        for size, found in _figures(results, "frames").items()
    ]
    places += [
        (
            f"{part.replace('x', '×')}, steps: {results[part]['figures']['steps']}, latents",
            results[part]["figures"]["ratios"],
        )
        for part in results
        if part.startswith("SD")
    ]
    for key, (figure, target) in TARGETS.items():
        for where, ratios in places:
            if key in ratios:
                theirs = ", theirs of 2" if key == "source ÷ recomputed" else ""
                yield _row(figure, where + theirs, ratios[key], target)
    if feed := _figures(results, "feed"):
        waited = feed["figures"]["streamed"]["waited_seconds"]
        yield _row(f"cache streamed ÷ held (the model waited {waited:.2f} s in all)", "demo", feed["ratio"], 1.02)
    if found := _figures(results, "memory"):
        yield _memory(found)
    if found := _figures(results, "length"):
        yield from _length(found)
    if found := _figures(results, "command"):
        yield from _command(found)


def _memory(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    plain, ours = found["plain"]["peak_bytes"], found["ours"]["peak_bytes"]
    step = found["ours"]["cache_step_bytes"]
    target, holds = "≤ 1.05, and a step of the cache", "yes" if ours <= 1.05 * plain + step else "no"
    name = f"peak memory ÷ plain ({plain / 1e9:.2f} GB; a step of the cache: {step / 1e9:.3f} GB)"
    return [name, "demo, 4 frames a batch", f"{ours / plain:.2f}", "", target, holds]


def _length(found: Mapping[str, Any]) -> Iterator[list[str]]:
    (short, long), (low, high) = found["frames"], found["peak_bytes"]
    name, where = f"{long:,} frames ÷ {short} frames", "narrow model, 64×64"
    yield _row(f"{name}: time a frame", where, found["ratio"], 1.02)
    holds = "yes" if high <= 1.05 * low else "no"
    yield [f"{name}: peak memory", where, f"{high / low:.2f}", "", "≤ 1.05", holds]


def _command(found: Mapping[str, Any]) -> Iterator[list[str]]:
    clock = found["network_seconds"] / found["whole_seconds"]
    cpu = found["network_cpu_seconds"] / found["cpu_seconds"]
    holds = "yes" if cpu >= 0.85 else "no"
    networks = found["network_cpu_seconds"]
    bound = networks / (networks + found["import_cpu_seconds"])
    name = f"whole command: share in UNet and ControlNet (importing diffusers leaves {bound:.0%} of CPU time)"
    yield [name, "demo clip", f"{clock:.0%}", f"{cpu:.0%}", "≥ 85 %", holds]
    seconds = found["help_seconds"]
    yield ["`masactrl-video --help`", "", f"{seconds:.2f} s", "", "≤ 1 s", "yes" if seconds <= 1 else "no"]


def _bounds(results: Results) -> str:
    if not (found := _figures(results, "bounds")):
        return ""
    rates, rows = found["rates"], []
    for name, shape in found["shapes"].items():
        floor = shape["our_operations"] / rates["operations_a_second"]
        reading = (shape["weight_bytes"] + shape["cache_step_bytes"]) / rates["bytes_a_second"]
        taken = _seconds_a_step(results, name)
        halves = 1 - shape["controlled_attention_operations"] / 2 / shape["our_operations"]
        rows.append(
            [
                name.replace("x", "×"),
                f"{shape['plain_operations'] / 1e12:.3g}",
                f"{shape['our_operations'] / 1e12:.3g}",
                f"{shape['our_operations'] / shape['plain_operations']:.3f}",
                f"{halves:.3f}",
                f"{shape['weight_bytes'] / 1e9:.2f} + {shape['cache_step_bytes'] / 1e9:.3f}",
                f"{floor:.2f}",
                f"{reading:.2f}",
                "" if taken is None else f"{taken['source']:.1f} ({taken['plain']:.1f})",
                "" if taken is None else f"{taken['source'] / floor:.1f}×",
            ]
        )
    columns = ["model", "plain, TFLOP", "ours, TFLOP", "ours ÷ plain", "masked ÷ source", "weights + cache, GB"]
    columns += ["operations' floor, s", "bytes' floor, s", "measured, s (plain)", "÷ floor"]
    text = (
        "## What bounds a step\n\nOne controlled step of one frame, batch 1, float32, with classifier-free guidance "
        "and a ControlNet. Operations are counted by torch's counter on shapes without values; masked: figure and "
        "ground halves of the picture. The floors are those of this machine's best rate in a matrix product, "
        f"{rates['operations_a_second'] / 1e9:.0f} GFLOP, and in a copy, {rates['bytes_a_second'] / 1e9:.1f} GB, a "
        "second of CPU time. What we compute once for all steps, a ControlNet's features of its pictures and the "
        "prompts' keys and values, is not in ours."
    )
    return text + "\n\n" + _table(columns, rows)


def _seconds_a_step(results: Results, name: str) -> Mapping[str, float] | None:
    found = _figures(results, name)
    return found["cpu_seconds_a_step"] if found else None


def _gpu_memory(results: Results) -> str:
    rows = [
        [
            found["model"].replace("x", "×"),
            str(found["frames"]),
            *(
                f"{found[key] / 1e9:.2f}"
                for key in ("text_weights", "denoising_weights", "vae_weights", "step", "cache_step", "decoding")
            ),
            f"{found['most'] / 1e9:.1f}",
            f"{found['most_offloaded'] / 1e9:.1f}",
        ]
        for found in _figures(results, "gpu_memory")
    ]
    if not rows:
        return ""
    columns = ["model", "frames a batch", "text encoders", "UNet, ControlNet", "VAE", "a step's tensors"]
    columns += ["a step of the cache", "decoding a picture", "at most", "at most with `--offload model`"]
    text = (
        "## What a GPU must hold\n\nGB, counted on shapes without values, not measured on a GPU: float16, "
        "classifier-free guidance, a ControlNet, fused attention; a picture decoded in float32, for which SDXL's VAE "
        "is known. At most: weights, two steps of the cache (the next is read ahead), and the larger of a step's and "
        "the decoder's tensors. The GPU's own context, kernels' workspaces and fragments come on top."
    )
    return text + "\n\n" + _table(columns, rows)


def _on_gpu(results: Results) -> str:
    blocks = [_one_on_gpu(part, results[part]["figures"]) for part in results if part.startswith("GPU ")]
    return "\n\n".join(["## On a GPU", *blocks]) if blocks else ""


def _one_on_gpu(part: str, found: Mapping[str, Any]) -> str:
    title = f"{part.removeprefix('GPU ').replace('x', '×')} on {found['device']}, float16, {found['steps']} steps"
    ratios = [[name, f"{ratio['clock']:.2f}"] for name, ratio in found["ratios"].items()]
    seconds = found["seconds_a_frame"] | {"decoding": found["decoding_seconds"]}
    ways = [[way, f"{taken:.2f}", _gb(found["peak_bytes"].get(way))] for way, taken in seconds.items()]
    batches = [[str(b["frames"]), f"{b['source']:.2f}", f"{b['plain']:.2f}"] for b in found["batches"]]
    tables = [
        _table(["times of a frame", "ratio on the clock"], ratios),
        _table(["one frame", "seconds", "peak memory, GB"], ways),
        _table(["frames a batch", "ours, frames a second", "plain, frames a second"], batches),
    ]
    return "\n\n".join([f"### {title}", *tables])


def _gb(size: int | None) -> str:
    return "" if size is None else f"{size / 1e9:.2f}"


def _options(results: Results) -> str:
    found = {**_figures(results, "options"), **_figures(results, "decoding")}
    shown = ", ".join(name.removeprefix("--") for name in _figures(results, "options"))
    rows = [
        [
            name,
            f"{figures['ratio']['clock']:.2f}",
            f"{figures['ratio']['cpu']:.2f}",
            f"{figures['mean_levels']:.2f}",
            f"{figures['max_levels']:.0f}",
            "∞" if figures["psnr_db"] > 200 else f"{figures['psnr_db']:.1f}",
        ]
        for name, figures in found.items()
    ]
    if not rows:
        return ""
    columns = ["option", "time ÷ exact", "CPU time ÷ exact", "mean error, levels", "largest", "PSNR, dB"]
    text = (
        "## What is not exact\n\nDemo model, batches of 4, against the same frames without the option; errors in "
        "levels of 255. Other schedulers and fewer steps make other pictures, which need not be worse ones.\n\n"
        f"![One frame, from left to right: {shown}](options.png)"
    )
    if _figures(results, "decoding"):
        text += "\n\n![A picture of twice the model's sides, decoded at once, in tiles, and as a preview](decoding.png)"
    return text + "\n\n" + _table(columns, rows)


def _figures(results: Results, part: str) -> Any:
    return results[part]["figures"] if part in results else {}
