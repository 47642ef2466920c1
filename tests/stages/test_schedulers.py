"""Every scheduler renders, with the source's own timesteps."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from masactrl_video.settings.names import SchedulerName
from masactrl_video.stages.outputs import Outputs
from masactrl_video.video.png import read_png


@pytest.mark.parametrize("name", get_args(SchedulerName))
def test_every_scheduler_renders(render: Callable[..., Outputs], tmp_path: Path, name: str) -> None:
    outputs = render(tmp_path / "out.mp4", scheduler=name, guidance=[])
    attention = json.loads(outputs.report.read_text())["render"]["attention"]
    assert attention["controlled_attention_calls"] == attention["expected_attention_calls"] == 8
    first, second = (read_png(path) for path in outputs.frames(2))
    assert first.std() > 1
    assert np.array_equal(first, second)  # no guidance and the same noise, also where a scheduler draws it
