"""A long clip against a short one: time a frame and peak memory, with a narrow model that leaves the rest visible."""

from __future__ import annotations

import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from frame_cost import load_clip, plan_for
from numpy.typing import NDArray

from masactrl_video.demo.standin import write_stand_in
from masactrl_video.render.frames import render_frames

SIDE_PX, STEPS = 64, 3


class EndlessPictures:
    """Guidance of any length that is made when it is asked for."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        picture = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
        picture[index % SIDE_PX] = 255
        return picture


def measure_length(frames: int) -> dict[str, Any]:
    """Render so many frames in a process that does nothing else; the first chunk warms up and is not timed."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_stand_in(root / "weights", sample_px=SIDE_PX)
        clip = load_clip(root / "weights", 1, STEPS)
        plan = plan_for(clip, "source", 1)
        job = replace(clip.job(clip.record(root / "cache", plan), plan), guidance=[EndlessPictures(frames)])
        paths = [root / f"{number}.png" for number in range(frames)]
        work: dict[str, Any] = {"batch_size": 8, "chunk_frames": 32, "text": {}}
        render_frames(job, paths[:32], **work)
        start, cpu = time.perf_counter(), time.process_time()
        render_frames(job, paths, **work)
        timed_frames = frames - 32
        return {
            "frames": frames,
            "seconds_a_frame": (time.perf_counter() - start) / timed_frames,
            "cpu_seconds_a_frame": (time.process_time() - cpu) / timed_frames,
            "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,  # Linux counts in KiB
        }
