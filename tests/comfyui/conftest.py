"""A real ComfyUI, where `COMFYUI_PATH` says where it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def comfy() -> Iterator[Any]:
    sys.path.insert(0, os.environ["COMFYUI_PATH"])
    import comfy.options
    from comfy.cli_args import args

    args.cpu = args.force_fp32 = True
    import comfy.model_management
    import comfy.sample
    import comfy.samplers
    import comfy.sd
    import comfy.utils

    yield comfy
    sys.path.remove(os.environ["COMFYUI_PATH"])
