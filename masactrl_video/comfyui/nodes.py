"""The nodes, for ComfyUI's V3 schema: what they take and give; what they do is done elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

try:
    import folder_paths
    from comfy_api.latest import ComfyExtension, io
except ImportError as error:
    raise ImportError(
        "masactrl_video.comfyui.nodes: it runs inside ComfyUI 0.3.60 or later alone (comfy_api was not found); see "
        "docs/comfyui.md for how to install the nodes there"
    ) from error

import torch

from masactrl_video.comfyui import shelf
from masactrl_video.comfyui.comfy_types import Patcher
from masactrl_video.comfyui.measuring import as_text, measured
from masactrl_video.comfyui.poses import as_json, drawn, read_json, retargeted, shipped, smoothed, tweened
from masactrl_video.comfyui.recording import Recording, Source, finished, record_source
from masactrl_video.comfyui.using import Part, Where, use_source
from masactrl_video.poses.cycles import RATES, VIEWS
from masactrl_video.settings.names import Easing

CATEGORY = "MasaCtrl video"

RecordingType = io.Custom("MASACTRL_RECORDING")
SourceType = io.Custom("MASACTRL_SOURCE")
PosesType = io.Custom("POSE_KEYPOINT")


def sources_folder() -> Path:
    """Where sources are kept: in ComfyUI's own output folder."""
    return Path(folder_paths.get_output_directory()) / "masactrl_sources"


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
            inputs=[
                io.Model.Input("model"),
                io.Int.Input("first_layer", default=0, min=0, max=200, tooltip="layers before it are not kept"),
            ],
            outputs=[io.Model.Output(display_name="model"), RecordingType.Output(display_name="recording")],
        )

    @classmethod
    def execute(cls, model: Patcher, first_layer: int) -> io.NodeOutput:
        """See ComfyUI."""
        return io.NodeOutput(*record_source(model, first_layer))


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


class SaveSource(io.ComfyNode):
    """A source on disk."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="MasaCtrlSaveSource",
            display_name="Save Source",
            category=CATEGORY,
            description="Writes a source into output/masactrl_sources, with checksums and its model's fingerprint.",
            inputs=[SourceType.Input("source"), io.String.Input("name", default="hero")],
            outputs=[SourceType.Output(display_name="source")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, source: Source, name: str) -> io.NodeOutput:
        """See ComfyUI."""
        shelf.save(sources_folder(), name, source)
        return io.NodeOutput(source)


class LoadSource(io.ComfyNode):
    """A source from disk."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="MasaCtrlLoadSource",
            display_name="Load Source",
            category=CATEGORY,
            description="A source that Save Source wrote; Use Source refuses it for a model that it does not fit.",
            inputs=[io.Combo.Input("name", options=shelf.names(sources_folder()))],
            outputs=[SourceType.Output(display_name="source")],
        )

    @classmethod
    def fingerprint_inputs(cls, name: str) -> str:
        """What makes ComfyUI load it anew."""
        return shelf.state(sources_folder(), name)

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        """See ComfyUI."""
        return io.NodeOutput(shelf.load(sources_folder(), name))


class RetargetPoses(io.ComfyNode):
    """Poses with another body."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="MasaCtrlRetargetPoses",
            display_name="Retarget Poses",
            category=CATEGORY,
            description="The movement of the poses with the bone lengths of the reference's first person.",
            inputs=[
                PosesType.Input("poses"),
                PosesType.Input("reference"),
                io.Boolean.Input("keep_foreshortening", default=False),
            ],
            outputs=[PosesType.Output(display_name="poses")],
        )

    @classmethod
    def execute(cls, poses: list[Any], reference: list[Any], keep_foreshortening: bool) -> io.NodeOutput:
        """See ComfyUI."""
        return io.NodeOutput(retargeted(poses, reference, keep_foreshortening=keep_foreshortening))


class SmoothPoses(io.ComfyNode):
    """Poses without trembling."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="MasaCtrlSmoothPoses",
            display_name="Smooth Poses",
            category=CATEGORY,
            description="Fills keypoints that are missing for a few frames, and smooths over time.",
            inputs=[
                PosesType.Input("poses"),
                io.Int.Input("window", default=5, min=5, max=99, step=2, tooltip="frames, odd"),
                io.Int.Input("longest_gap", default=3, min=0, max=1000, tooltip="frames that are filled in"),
            ],
            outputs=[PosesType.Output(display_name="poses")],
        )

    @classmethod
    def execute(cls, poses: list[Any], window: int, longest_gap: int) -> io.NodeOutput:
        """See ComfyUI."""
        return io.NodeOutput(smoothed(poses, window=window, longest_gap=longest_gap))


class TweenPoses(io.ComfyNode):
    """Poses between key poses."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="MasaCtrlTweenPoses",
            display_name="Tween Poses",
            category=CATEGORY,
            description="Each frame of the keys is a key pose; limbs turn from one to the next.",
            inputs=[
                PosesType.Input("keys"),
                io.Int.Input("between", default=7, min=0, max=1000, tooltip="poses between each two keys"),
                io.Combo.Input("easing", options=list(get_args(Easing)), default="linear"),
                io.Boolean.Input("loop", default=False, tooltip="the first key follows the last"),
            ],
            outputs=[PosesType.Output(display_name="poses")],
        )

    @classmethod
    def execute(cls, keys: list[Any], between: int, easing: Easing, loop: bool) -> io.NodeOutput:
        """See ComfyUI."""
        return io.NodeOutput(tweened(keys, between=between, easing=easing, loop=loop))


class DrawPoses(io.ComfyNode):
    """Skeletons for an OpenPose ControlNet."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="MasaCtrlDrawPoses",
            display_name="Draw Poses",
            category=CATEGORY,
            description="A skeleton for each frame, in the colours of ControlNet.",
            inputs=[
                PosesType.Input("poses"),
                io.Float.Input("min_confidence", default=0.3, min=0.0, max=1.0, step=0.05),
            ],
            outputs=[io.Image.Output(display_name="images")],
        )

    @classmethod
    def execute(cls, poses: list[Any], min_confidence: float) -> io.NodeOutput:
        """See ComfyUI."""
        return io.NodeOutput(torch.from_numpy(drawn(poses, min_confidence)))


class ShippedMovement(io.ComfyNode):
    """Poses that come with the package."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="MasaCtrlShippedMovement",
            display_name="Shipped Movement",
            category=CATEGORY,
            description="A walk, a run and others as poses; the first frame follows the last.",
            inputs=[io.Combo.Input("movement", options=list(RATES)), io.Combo.Input("view", options=list(VIEWS))],
            outputs=[PosesType.Output(display_name="poses")],
        )

    @classmethod
    def execute(cls, movement: str, view: str) -> io.NodeOutput:
        """See ComfyUI."""
        return io.NodeOutput(shipped(movement, view))


class PosesFromJson(io.ComfyNode):
    """Poses of a text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="MasaCtrlPosesFromJson",
            display_name="Poses from JSON",
            category=CATEGORY,
            description="Pose JSON as editors and Poses to JSON write it.",
            inputs=[io.String.Input("text", multiline=True, default="")],
            outputs=[PosesType.Output(display_name="poses")],
        )

    @classmethod
    def execute(cls, text: str) -> io.NodeOutput:
        """See ComfyUI."""
        return io.NodeOutput(read_json(text))


class PosesToJson(io.ComfyNode):
    """Poses as a text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="MasaCtrlPosesToJson",
            display_name="Poses to JSON",
            category=CATEGORY,
            description="Poses as a text that can be edited.",
            inputs=[PosesType.Input("poses")],
            outputs=[io.String.Output(display_name="text")],
        )

    @classmethod
    def execute(cls, poses: list[Any]) -> io.NodeOutput:
        """See ComfyUI."""
        return io.NodeOutput(as_json(poses))


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
    RecordSource,
    RecordedSource,
    UseSource,
    SaveSource,
    LoadSource,
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
