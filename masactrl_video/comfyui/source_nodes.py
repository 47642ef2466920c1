"""The nodes of sources: recorded, used, saved and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from masactrl_video.comfyui import shelf
from masactrl_video.comfyui.comfy import CATEGORY, folder_paths, io
from masactrl_video.comfyui.comfy_types import Patcher
from masactrl_video.comfyui.inverting import PictureInversion
from masactrl_video.comfyui.recording import Recording, Source, finished, record_source
from masactrl_video.comfyui.using import Part, Where, use_source
from masactrl_video.comfyui.words import Words, find_words

RecordingType = io.Custom("MASACTRL_RECORDING")
SourceType = io.Custom("MASACTRL_SOURCE")
WordsType = io.Custom("MASACTRL_WORDS")


def sources_folder() -> Path:
    """Where sources are kept: in ComfyUI's own output folder."""
    return Path(folder_paths.get_output_directory()) / "masactrl_sources"


class PromptWithWords(io.ComfyNode):
    """A prompt, and where the words stand in it that name an object."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="MasaCtrlPromptWithWords",
            display_name="Prompt with Words",
            category=CATEGORY,
            description="Encodes a prompt as CLIP Text Encode does, and finds the words of an object in it.",
            inputs=[
                io.Clip.Input("clip"),
                io.String.Input("text", multiline=True),
                io.String.Input("words", tooltip="those of the text that name the object"),
                io.Int.Input(
                    "mask_grid_divisor", default=4, min=1, max=8, tooltip="UNets: latent side / side of the map"
                ),
                io.Float.Input("threshold", default=0.1, min=0.0, max=1.0, step=0.01),
            ],
            outputs=[io.Conditioning.Output(display_name="conditioning"), WordsType.Output(display_name="words")],
        )

    @classmethod
    def execute(cls, clip: Any, text: str, words: str, mask_grid_divisor: int, threshold: float) -> io.NodeOutput:
        """See ComfyUI."""
        conditioning = clip.encode_from_tokens_scheduled(clip.tokenize(text))
        found = find_words(clip, text, words, conditioning[0][0].shape[1])
        return io.NodeOutput(conditioning, Words(found, mask_grid_divisor, threshold))


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
                WordsType.Input("words", optional=True, tooltip="of the object: Use Source needs no source_mask then"),
            ],
            outputs=[io.Model.Output(display_name="model"), RecordingType.Output(display_name="recording")],
            not_idempotent=True,  # two of them with the same inputs record two sources
        )

    @classmethod
    def execute(cls, model: Patcher, first_layer: int, words: Words | None = None) -> io.NodeOutput:
        """See ComfyUI."""
        return io.NodeOutput(*record_source(model, first_layer, words))


class InvertPicture(io.ComfyNode):
    """A SAMPLER for a given picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="MasaCtrlInvertPicture",
            display_name="Invert Picture",
            category=CATEGORY,
            description="A SAMPLER with which Sampler Custom records a given picture: the MODEL of Record Source, the "
            "picture's LATENT, no added noise, an empty prompt twice.",
            inputs=[],
            outputs=[io.Sampler.Output(display_name="sampler")],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        """See ComfyUI."""
        return io.NodeOutput(PictureInversion())


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
                WordsType.Input("words", optional=True, tooltip="masked, regions: of the object, instead of a mask"),
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
        words: Words | None = None,
    ) -> io.NodeOutput:
        """See ComfyUI."""
        part = Part(source, weight, None if source_mask is None else source_mask[0], target_mask, words)
        return io.NodeOutput(use_source(model, part, Where(mode, first_step, first_layer)))


class SaveSource(io.ComfyNode):
    """A source on disk."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="MasaCtrlSaveSource",
            display_name="Save Recorded Source",
            category=CATEGORY,
            description="Writes what was recorded of a source into output/masactrl_sources, for the same model "
            "again. Save Character keeps a picture for any model.",
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
            display_name="Load Recorded Source",
            category=CATEGORY,
            description="What Save Recorded Source wrote; Use Source refuses it for a model that it does not fit.",
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
