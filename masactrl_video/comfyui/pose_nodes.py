"""The nodes of poses, which speak ComfyUI's own POSE_KEYPOINT."""

from __future__ import annotations

from typing import Any, get_args

import torch

from masactrl_video.comfyui.comfy import CATEGORY, io
from masactrl_video.comfyui.poses import as_json, drawn, read_json, retargeted, shipped, smoothed, tweened
from masactrl_video.poses.cycles import RATES, VIEWS
from masactrl_video.settings.names import Easing

PosesType = io.Custom("POSE_KEYPOINT")


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
