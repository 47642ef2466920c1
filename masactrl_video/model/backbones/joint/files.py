"""Transformers on a flow on disk: parts of a folder, a transformer in one file, LoRA files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from diffusers import DiffusionPipeline
from safetensors import safe_open
from transformers import PreTrainedModel

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.files import ModelFiles
from masactrl_video.model.loading.lora_formats import check_format
from masactrl_video.settings.names import PredictionType

FLOW_SCHEDULER = "FlowMatchEulerDiscreteScheduler"


class TransformerFiles(ModelFiles):
    """The `ModelFiles` of one pipeline whose denoiser is its `transformer`; a family says what is particular to it."""

    title: str
    kind: type[DiffusionPipeline]
    """Its pipeline."""
    parts: ClassVar[Mapping[str, tuple[type[torch.nn.Module], ...]]]
    """Parts with weights → the classes that each may be of, the usual one first."""
    optional: Collection[str] = ()
    """Of the parts, those that a folder may leave out."""
    files: ClassVar[Mapping[str, Sequence[str]]]
    """See `ModelFiles.beside`."""
    lora_parts: Sequence[str] = ("transformer",)
    of_others: Sequence[tuple[str, str]] = ()
    """Signs of adapters for other families (see `lora_formats.check_format`)."""

    def is_in(self, keys: Sequence[str]) -> bool:
        """Whether weights of these names, in one file, are of this family's transformer."""
        return False

    def shared(self, pipe: DiffusionPipeline) -> Mapping[str, tuple[object, object]]:
        """Entry of the transformer's configuration → what it is, and what another part says that it must be."""
        return {}

    def pipeline(self, class_name: str) -> type[DiffusionPipeline]:
        """The only one."""
        return self.kind

    def networks(self, pipeline: type[DiffusionPipeline]) -> Mapping[str, type[torch.nn.Module]]:
        """Each of its usual class."""
        return {part: kinds[0] for part, kinds in self.parts.items()}

    def networks_in(
        self, pipeline: type[DiffusionPipeline], index: Mapping[str, object]
    ) -> Mapping[str, type[torch.nn.Module]]:
        """Each of the class that the index names, where that is a possible one."""
        found: dict[str, type[torch.nn.Module]] = {}
        for part, kinds in self.parts.items():
            named = index.get(part)
            name = named[1] if isinstance(named, list) and len(named) == 2 else None
            if name is not None or part not in self.optional:
                found[part] = next((kind for kind in kinds if kind.__name__ == name), kinds[0])
        return found

    def beside(self, pipeline: type[DiffusionPipeline]) -> Mapping[str, Sequence[str]]:
        """Tokenizers and scheduler."""
        return self.files

    def pipeline_in(self, name: str, path: Path) -> str | None:
        """By the names of the transformer's weights, in its authors' or diffusers' layout."""
        with safe_open(path, framework="numpy") as file:  # reads the header only
            keys = [key.removeprefix("model.diffusion_model.") for key in file.keys()]  # noqa: SIM118, it is no mapping
        return self.kind.__name__ if self.is_in(keys) else None

    def unused(self, path: Path, pipe: DiffusionPipeline) -> Mapping[str, Sequence[str]]:
        """None: a file holds one part, and that is looked at before."""
        return {}

    def part_in_file(self, pipeline: type[DiffusionPipeline]) -> tuple[str, type[torch.nn.Module]] | None:
        """A file holds the transformer; the rest is taken from a folder."""
        return "transformer", self.parts["transformer"][0]

    def check_parts(self, name: str, pipe: DiffusionPipeline) -> None:
        """See that the parts of a loaded pipeline belong together.

        Raises:
            UserError: two are of different models.
        """
        for entry, (own, other) in self.shared(pipe).items():
            if own != other:
                raise UserError(
                    f"model {name!r}: its parts are of different models: the transformer's {entry} is {own}, the part "
                    f"before it gives {other}"
                )

    def lora_tensors(self, pipe: DiffusionPipeline, file: Path, name: str, scale: float) -> Collection[str]:
        """In diffusers', kohya's or the authors' layout."""
        with safe_open(file, framework="numpy") as tensors:
            check_format(name, list(tensors.keys()), scale, self.of_others)
        read = pipe.lora_state_dict(
            str(file.parent), weight_name=file.name, use_safetensors=True, local_files_only=True
        )
        return list(read[0] if isinstance(read, tuple) else read)


class FlowFiles(TransformerFiles):
    """The same of a pipeline on a flow."""

    def check_scheduler(self, name: str, class_name: str) -> None:
        """Euler's on a flow."""
        if class_name != FLOW_SCHEDULER:
            raise UserError(
                f"model {name!r}: its scheduler is a {class_name}; {self.title} goes with a {FLOW_SCHEDULER}"
            )

    def complete(
        self, name: str, pipe: DiffusionPipeline, file: Path | None, wanted: PredictionType | None, dtype: torch.dtype
    ) -> None:
        """Compare the parts."""
        if wanted is not None:
            raise UserError(f"prediction_type {wanted}: {self.title} predicts a flow's velocity alone; leave it out")
        self.check_parts(name, pipe)


def width(encoder: PreTrainedModel) -> int:
    """Channels of a text encoder's states."""
    config = encoder.config.get_text_config()
    return int(config.d_model if hasattr(config, "d_model") else config.hidden_size)
