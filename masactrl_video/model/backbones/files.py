"""How models of a family lie on disk: what loading asks of a backbone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch

from masactrl_video.model.backbones.parts import Pipeline
from masactrl_video.settings.names import PredictionType


class ModelFiles(Protocol):
    """From files to a pipeline that can be steered. Each `name` is that of the model, for messages."""

    @property
    def lora_parts(self) -> Sequence[str]:
        """Parts of a pipeline that a LoRA may change."""

    def pipeline(self, class_name: str) -> type[Pipeline]:
        """One of `Backbone.pipelines`."""

    def networks(self, pipeline: type[Pipeline]) -> Mapping[str, type[torch.nn.Module]]:
        """Its parts with weights: name → class."""

    def networks_in(self, pipeline: type[Pipeline], index: Mapping[str, object]) -> Mapping[str, type[torch.nn.Module]]:
        """The same for a folder whose `model_index.json` is given, where a part may be of one of several classes."""
        return self.networks(pipeline)

    def beside(self, pipeline: type[Pipeline]) -> Mapping[str, Sequence[str]]:
        """Its parts without weights: name → files of which it needs one."""

    def check_scheduler(self, name: str, class_name: str) -> None:
        """See that a model's own scheduler is of this family's kind.

        Raises:
            UserError: it is for another kind of denoising.
        """

    def pipeline_in(self, name: str, path: Path) -> str | None:
        """The pipeline that a single `.safetensors` file holds, one of `Backbone.pipelines`; None: not this family's.

        Raises:
            UserError: it is this family's, but not whole, or of a kind that cannot be denoised here.
        """

    def part_in_file(self, pipeline: type[Pipeline]) -> tuple[str, type[torch.nn.Module]] | None:
        """Name and class of the only part that a single file holds; None: it holds them all."""
        return None

    def unused(self, path: Path, pipe: Pipeline) -> Mapping[str, Sequence[str]]:
        """Of a single file: part of the loaded pipeline → weights that none of its layers took."""

    def complete(
        self, name: str, pipe: Pipeline, file: Path | None, wanted: PredictionType | None, dtype: torch.dtype
    ) -> None:
        """See that the parts of a loaded pipeline belong together, and set up what its files do not say.

        Args:
            file: the single file that it came from.
            wanted: what the user says that it predicts.
            dtype: the number format that it was loaded in.

        Raises:
            UserError: two parts are of different models, the denoiser of another kind, or `wanted` means nothing here.
        """

    def lora_tensors(self, pipe: Pipeline, file: Path, name: str, scale: float) -> Collection[str]:
        """Names of a LoRA file's tensors, as the pipeline will read them.

        Raises:
            UserError: a format that would be lost or read by half; `name` is the LoRA's.
        """
