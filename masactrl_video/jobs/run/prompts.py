"""The prompts of a run by the names of their settings, told where they are not read as they stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from masactrl_video.controls.domain_check import tell_unlearnt
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.unread import tell_unread
from masactrl_video.settings.names import OWN_MODELS
from masactrl_video.settings.settings import Settings


def tell_prompts(settings: Settings | Sequence[Settings], model: DiffusionModel) -> None:
    """Warn of each prompt of a run, or of several targets, that is not read as it stands."""
    targets = [settings] if isinstance(settings, Settings) else settings
    several = len({target.prompt for target in targets}) > 1
    pairs: list[tuple[str, str]] = []
    for number, target in enumerate(targets, 1):
        pairs += prompts_of(target, f"prompt of target {number}" if several else "prompt")
    tell_texts(targets[0], model, pairs)


def tell_texts(settings: Settings, model: DiffusionModel, prompts: Sequence[tuple[str, str]]) -> None:
    """Warn of each prompt that is not read as it stands, and of words that the package's own models do not know.

    Args:
        settings: of the model; with a LoRA it may have learnt anything.
        prompts: what each is called, and its text.
    """
    tell_unread(model.pipe, prompts)
    if settings.model in OWN_MODELS and not settings.lora:
        tell_unlearnt(prompts)


def prompts_of(settings: Settings, prompt: str = "prompt", of: str = "") -> Iterator[tuple[str, str]]:
    """Name and text of every prompt that the text encoders read.

    Args:
        prompt: how the prompt is called.
        of: added to the other names, e.g. ` of panel 2`.
    """
    named: Iterable[tuple[str, str | None]] = (
        (prompt, settings.prompt),
        (f"negative_prompt{of}", settings.negative_prompt if settings.guided else None),
        (f"source_prompt{of}", settings.source_prompt),
        (f"source_caption{of}", settings.source_caption),
    )
    for name, text in named:
        if text:
            yield name, text
