"""Clips can be opened before anything needs torch."""

import subprocess
import sys

PROGRAM = """
import masactrl_video.video.clip
import torch
print(torch.nn.Linear(64, 64)(torch.ones(2, 77, 64)).shape, torch.nn.Conv2d(3, 8, 3)(torch.ones(1, 3, 64, 64)).shape)
"""


def test_torch_works_after_the_video_reader_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
    assert "torch.Size([2, 77, 64])" in done.stdout
