"""Peak memory of the same frames by diffusers and by us, each in a process that does nothing else."""

from __future__ import annotations

import resource
import tempfile
from pathlib import Path
from typing import Any

from demo_model import load_clip, plan_for

from masactrl_video.render.chunks import render_frames

FRAMES = 4


def measure_memory(weights: Path, steps: int, way: str) -> dict[str, Any]:
    """`plain`: one batch by diffusers; `ours`: the source made and recorded, then the batch rendered to PNG files."""
    clip = load_clip(weights, FRAMES, steps)
    step_bytes = 0
    if way == "plain":
        clip.plain()(range(FRAMES))
    else:
        plan = plan_for(clip, "source")
        with tempfile.TemporaryDirectory() as root:
            source = clip.record(Path(root), plan)
            step_bytes = max(file.bytes for file in source.entry.index.files.values())
            paths = [Path(root) / f"{n}.png" for n in range(FRAMES)]
            render_frames(clip.job(source, plan), paths, batch_size=FRAMES, chunk_frames=FRAMES, text={})
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # Linux counts in KiB
    return {"peak_bytes": peak, "cache_step_bytes": step_bytes}
