"""What of a prompt is not read as its writer means it: words past the text encoder's limit, and others' marks."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.readers import FIRST, SECOND, TextReader
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.settings.presets import shortened
from masactrl_video.settings.prompt_marks import marks_in

logger = logging.getLogger(__name__)

_OF_LIBRARIES = (
    "Token indices sequence length is longer",
    "The following part of your input was truncated",
    "Kwargs passed to `processor.__call__`",
)
_BEGUN_WORD = re.compile(r"(?<!\w)[0-9A-Za-z\u00c0-\u0dff]{1,30}$")
"""The read part of a word that is cut in two, in scripts that part words by spaces."""
_OF_TOKENS = ("transformers.tokenization_utils_base", "transformers.processing_utils")


def tell_unread(pipe: Any, prompts: Iterable[tuple[str, str]]) -> None:
    """Warn of each prompt that is not read as it stands.

    Args:
        pipe: a loaded pipeline.
        prompts: what each is called, and its text; a text that comes again is told once.
    """
    told = set()
    for name, text in prompts:
        if text in told:
            continue
        told.add(text)
        if marks := marks_in(text):
            lora = "; LoRAs are given with --lora" if any(mark.startswith("<lora:") for mark in marks) else ""
            logger.warning(
                "%s: %s: marks of other programs (A1111, ComfyUI), read as plain words here; leave them out%s",
                name,
                shortened(", ".join(marks)),
                lora,
            )
        for encoder, limit, words in words_left_out(pipe, text):
            logger.warning(
                "%s: %s reads %d tokens; left out from there on: %r; shorten the prompt",
                name,
                encoder,
                limit,
                shortened(words),
            )


def words_left_out(pipe: Any, prompt: str) -> Iterator[tuple[str, int, str]]:
    """Each text encoder that does not read the whole prompt: its name, its limit in tokens, and what it leaves out.

    Encoders that leave out the same are named together.
    """
    found = {}
    for reader in _readers(pipe):
        if (tokenizer := getattr(pipe, reader.part, None)) is None:
            continue
        tokenizer = _of_text(tokenizer)
        most = int(tokenizer.model_max_length if reader.most is None else reader.most)
        if words := _past_limit(tokenizer, prompt, most, reader):
            found[reader.name] = (most, words)
    if len(found) == 2 and len(set(found.values())) == 1:
        yield "each of the two text encoders", *next(iter(found.values()))
        return
    for name, facts in found.items():
        yield name, *facts


def _readers(pipe: Any) -> Sequence[TextReader]:
    try:
        return backbone_of(pipe).readers(pipe)
    except UserError:  # of no known family
        return FIRST, SECOND


def _past_limit(tokenizer: Any, prompt: str, most: int, reader: TextReader) -> str:
    """From the first word that is not read whole to the end; empty where all is read."""
    written = reader.written(prompt)
    text = reader.around(written)
    room = most - tokenizer.num_special_tokens_to_add()
    fast = bool(getattr(tokenizer, "is_fast", False))
    read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=fast, verbose=False)
    if len(read.input_ids) <= room:
        return ""
    if not fast:
        return str(tokenizer.decode(read.input_ids[room:])).strip()
    end = text.find(written) + len(written)
    start: int = read["offset_mapping"][room][0]
    begun = _BEGUN_WORD.search(text[:start]) if text[start].isalnum() else None
    return text[start - len(begun[0]) if begun else start : end].strip()


def _of_text(tokenizer: Any) -> Any:
    """A tokenizer itself, or that of a processor, which reads pictures too."""
    return getattr(tokenizer, "tokenizer", tokenizer)


@contextmanager
def libraries_leave_it_to_us() -> Iterator[None]:
    """Inside the context, diffusers and transformers say nothing by themselves of a prompt's length and their calls."""

    def keep(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(_OF_LIBRARIES)

    loggers = [logging.getLogger(name) for name in (*_OF_TOKENS, *_diffusers_loggers())]
    for each in loggers:
        each.addFilter(keep)
    try:
        yield
    finally:
        for each in loggers:
            each.removeFilter(keep)


def _diffusers_loggers() -> list[str]:
    """Names of the loggers of pipelines that are loaded."""
    return [name for name in logging.root.manager.loggerDict if name.startswith("diffusers.pipelines.")]
