"""All nodes, for ComfyUI's V3 schema: what they take and give; what they do is done elsewhere."""

from __future__ import annotations

import torch

from masactrl_video.comfyui.character_nodes import LoadCharacter, SaveCharacter
from masactrl_video.comfyui.comfy import CATEGORY, ComfyExtension, io
from masactrl_video.comfyui.measuring import as_text, measured
from masactrl_video.comfyui.pose_nodes import (
    DrawPoses,
    PosesFromJson,
    PosesToJson,
    RetargetPoses,
    ShippedMovement,
    SmoothPoses,
    TweenPoses,
)
from masactrl_video.comfyui.source_nodes import (
    InvertPicture,
    LoadSource,
    PromptWithWords,
    RecordedSource,
    RecordSource,
    SaveSource,
    UseSource,
)


class MeasureFrames(io.ComfyNode):
    """How steady a batch of frames is."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="MasaCtrlMeasure",
            display_name="Measure",
            category=CATEGORY,
            description="Drift of colours and flicker; with the input clip also how much more the result trembles.",
            inputs=[
                io.Image.Input("frames"),
                io.Image.Input("source", optional=True),
                io.Image.Input("original", optional=True, tooltip="the input clip, as many frames of the same size"),
            ],
            outputs=[io.String.Output(display_name="figures")],
        )

    @classmethod
    def execute(
        cls, frames: torch.Tensor, source: torch.Tensor | None = None, original: torch.Tensor | None = None
    ) -> io.NodeOutput:
        """See ComfyUI."""
        others = (None if batch is None else batch.cpu().float().numpy() for batch in (source, original))
        return io.NodeOutput(as_text(measured(frames.cpu().float().numpy(), *others)))


NODES: list[type[io.ComfyNode]] = [
    PromptWithWords,
    RecordSource,
    InvertPicture,
    RecordedSource,
    UseSource,
    SaveSource,
    LoadSource,
    SaveCharacter,
    LoadCharacter,
    ShippedMovement,
    PosesFromJson,
    PosesToJson,
    RetargetPoses,
    SmoothPoses,
    TweenPoses,
    DrawPoses,
    MeasureFrames,
]


class MasaCtrlExtension(ComfyExtension):
    """All nodes of this package."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """See ComfyUI."""
        return NODES


async def comfy_entrypoint() -> ComfyExtension:
    """What ComfyUI calls."""
    return MasaCtrlExtension()
