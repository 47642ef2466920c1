"""Every scheduler renders, with the source's own timesteps."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import lora_files
import numpy as np
import pytest

from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.from_settings import model_from_settings
from masactrl_video.settings.names import SchedulerName
from masactrl_video.settings.settings import Settings
from masactrl_video.video.png import read_png


@pytest.mark.long
@pytest.mark.parametrize("name", sorted({*get_args(SchedulerName)} - {"flow"}))
def test_every_scheduler_renders(render: Callable[..., Outputs], tmp_path: Path, name: str) -> None:
    outputs = render(tmp_path / "out.mp4", scheduler=name, guidance=[])
    attention = json.loads(outputs.report.read_text())["render"]["attention"]
    assert attention["controlled_attention_calls"] == attention["expected_attention_calls"] == 8
    first, second = (read_png(path) for path in outputs.frames(2))
    assert first.std() > 1
    assert np.array_equal(first, second)  # no guidance and the same noise, also where a scheduler draws it


@pytest.mark.long
def test_lcm_in_a_few_steps_with_a_lora_keeps_s_at_its_fraction(
    demo: Callable[..., Settings],
    models: Callable[[Settings], DiffusionModel],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="masactrl_video")
    lora = lora_files.save_lora(models(demo(guidance=[])).pipe, tmp_path / "lcm.safetensors")
    few = {"scheduler": "lcm", "num_inference_steps": 4, "guidance_scale": 1.0, "guidance": [], "frame_load_cap": 1}
    made = []
    for loras in ({}, {str(lora): 1.0}):
        settings = demo(**few, lora=loras)
        outputs = render_clip(settings, tmp_path / f"{len(loras)}.mp4", model=model_from_settings(settings))
        attention = json.loads(outputs.report.read_text())["render"]["attention"]
        assert attention["controlled_attention_calls"] == attention["expected_attention_calls"] == 2 * 8
        made.append(read_png(outputs.frames(1)[0]))
    assert "masa_step: 1 of 2 steps becomes 2 of 4" in caplog.text
    assert not np.array_equal(*made), "the LoRA did nothing"
