"""The nodes of characters, which `masactrl-video` keeps and exports: pictures with a prompt, which fit any model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from masactrl_video.comfyui import characters
from masactrl_video.comfyui.comfy import CATEGORY, folder_paths, io
from masactrl_video.comfyui.pose_nodes import PosesType


def characters_folder() -> Path:
    """Where characters are kept: in ComfyUI's own output folder."""
    return Path(folder_paths.get_output_directory()) / "masactrl_characters"


class SaveCharacter(io.ComfyNode):
    """A picture as a character."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="MasaCtrlSaveCharacter",
            display_name="Save Character",
            category=CATEGORY,
            description="Keeps picture, prompt and pose in output/masactrl_characters, for Load Character and for "
            "masactrl-video render --character. It fits any model; Save Recorded Source keeps what one model recorded.",
            inputs=[
                io.Image.Input("image"),
                io.String.Input("name", default="hero"),
                io.String.Input("prompt", multiline=True, default="", tooltip="what the picture shows"),
                io.String.Input("words", default="", tooltip="those of the prompt that name the character"),
                io.Boolean.Input("overwrite", default=False, tooltip="replace another character of that name"),
                PosesType.Input("poses", optional=True, tooltip="one frame: the pose in the picture"),
            ],
            outputs=[io.Image.Output(display_name="image")],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, image: torch.Tensor, name: str, prompt: str, words: str, overwrite: bool, poses: list[Any] | None = None
    ) -> io.NodeOutput:
        """See ComfyUI."""
        picture = image.cpu().float().numpy()
        characters.save(
            characters_folder(), name, picture, prompt=prompt, words=words, poses=poses, overwrite=overwrite
        )
        return io.NodeOutput(image)


class LoadCharacter(io.ComfyNode):
    """A character that was saved, or that masactrl-video made or exported."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="MasaCtrlLoadCharacter",
            display_name="Load Character",
            category=CATEGORY,
            description="A character in output/masactrl_characters: of Save Character, or a folder or exported .zip of "
            "masactrl-video that was put there. Every byte is checked.",
            inputs=[io.Combo.Input("name", options=characters.names(characters_folder()))],
            outputs=[
                io.Image.Output(display_name="image"),
                io.String.Output(display_name="prompt"),
                io.String.Output(display_name="words"),
                PosesType.Output(display_name="poses"),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, name: str) -> str:
        """What makes ComfyUI load it anew."""
        return characters.state(characters_folder(), name)

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        """See ComfyUI."""
        found = characters.load(characters_folder(), name)
        return io.NodeOutput(torch.from_numpy(found.image), found.prompt, found.words, found.poses)
