"""The nodes, for ComfyUI's V3 schema: what they take and give; what they do is done elsewhere."""

from __future__ import annotations

try:
    from comfy_api.latest import ComfyExtension, io
except ImportError as error:
    raise ImportError(
        "masactrl_video.comfyui.nodes: it runs inside ComfyUI 0.3.60 or later alone (comfy_api was not found); see "
        "docs/comfyui.md for how to install the nodes there"
    ) from error

import torch

from masactrl_video.comfyui.comfy_types import Patcher
from masactrl_video.comfyui.recording import Recording, Source, finished, record_source
from masactrl_video.comfyui.using import Part, Where, use_source

CATEGORY = "MasaCtrl video"

RecordingType = io.Custom("MASACTRL_RECORDING")
SourceType = io.Custom("MASACTRL_SOURCE")


class RecordSource(io.ComfyNode):
    """A MODEL that records what a sampler does with it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="MasaCtrlRecordSource",
            display_name="Record Source",
            category=CATEGORY,
            description="Give this MODEL to the sampler that makes the source picture, and that sampler's LATENT with "
            "the recording to Recorded Source.",
            inputs=[io.Model.Input("model")],
            outputs=[io.Model.Output(display_name="model"), RecordingType.Output(display_name="recording")],
            search_aliases=["masactrl", "mutual self-attention", "consistent character"],
        )

    @classmethod
    def execute(cls, model: Patcher) -> io.NodeOutput:
        """See ComfyUI."""
        return io.NodeOutput(*record_source(model))


class RecordedSource(io.ComfyNode):
    """What was recorded, once the sampler is done."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="MasaCtrlRecordedSource",
            display_name="Recorded Source",
            category=CATEGORY,
            description="Waits for the sampler that has the MODEL of Record Source, and gives what was recorded.",
            inputs=[RecordingType.Input("recording"), io.Latent.Input("recorded")],
            outputs=[SourceType.Output(display_name="source")],
        )

    @classmethod
    def execute(cls, recording: Recording, recorded: dict[str, torch.Tensor]) -> io.NodeOutput:
        """See ComfyUI."""
        return io.NodeOutput(finished(recording, recorded["samples"]))


class UseSource(io.ComfyNode):
    """A MODEL whose pictures look like the source."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="MasaCtrlUseSource",
            display_name="Use Source",
            category=CATEGORY,
            description="A MODEL whose self-attention asks the source. A second one after it adds another source.",
            inputs=[
                io.Model.Input("model"),
                SourceType.Input("source"),
                io.Combo.Input("mode", options=["source", "union", "masked", "regions"], default="source"),
                io.Int.Input("first_step", default=4, min=0, max=1000, tooltip="S: from this step on, counted from 0"),
                io.Int.Input("first_layer", default=10, min=0, max=200, tooltip="L: from this self-attention layer on"),
                io.Float.Input("weight", default=1.0, min=0.0, max=100.0, step=0.05),
                io.Mask.Input("source_mask", optional=True, tooltip="masked, regions: the object in the source"),
                io.Mask.Input("target_mask", optional=True, tooltip="masked, regions: the object in the frames"),
            ],
            outputs=[io.Model.Output(display_name="model")],
            search_aliases=["masactrl", "mutual self-attention", "consistent character"],
        )

    @classmethod
    def execute(
        cls,
        model: Patcher,
        source: Source,
        mode: str,
        first_step: int,
        first_layer: int,
        weight: float,
        source_mask: torch.Tensor | None = None,
        target_mask: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        """See ComfyUI."""
        part = Part(source, weight, None if source_mask is None else source_mask[0], target_mask)
        return io.NodeOutput(use_source(model, part, Where(mode, first_step, first_layer)))


NODES: list[type[io.ComfyNode]] = [RecordSource, RecordedSource, UseSource]


class MasaCtrlExtension(ComfyExtension):
    """All nodes of this package."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """See ComfyUI."""
        return NODES


async def comfy_entrypoint() -> ComfyExtension:
    """What ComfyUI calls."""
    return MasaCtrlExtension()
