"""A CLIP tokenizer with a small vocabulary: known words are one token, any other text falls apart into bytes."""

import json
from collections.abc import Iterable

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

END_OF_WORD = "</w>"
START, END = "<|startoftext|>", "<|endoftext|>"


def merges_for(words: Iterable[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, in order, after which each of the words is a single token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=100_000,  # never reached: training stops when every word is whole
        min_frequency=1,
        show_progress=False,
        # Pairs that are as frequent are merged in the order of their ids, which must therefore not be left to the
        # trainer: it gives those of letters that end a word in another order in each process.
        special_tokens=[token + END_OF_WORD for token in alphabet],
        initial_alphabet=alphabet,
        end_of_word_suffix=END_OF_WORD,
    )
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    tokenizer.train_from_iterator(words, trainer)
    return [(first, second) for first, second in _model_state(tokenizer)["merges"]]


def vocabulary_for(merges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Token ids in CLIP's order: bytes, bytes that end a word, merged tokens, start, end."""
    byte_tokens = sorted(pre_tokenizers.ByteLevel.alphabet())
    ending = [token + END_OF_WORD for token in byte_tokens]
    merged = ["".join(merge) for merge in merges]
    tokens = dict.fromkeys([*byte_tokens, *ending, *merged, START, END])
    return {token: index for index, token in enumerate(tokens)}


def build_tokenizer(words: Iterable[str], max_tokens: int) -> CLIPTokenizer:
    """A tokenizer to which each of ``words`` is one token; prompts are padded and cut to ``max_tokens``."""
    merges = merges_for(words)
    return CLIPTokenizer(vocab=vocabulary_for(merges), merges=merges, model_max_length=max_tokens)


def _model_state(tokenizer: Tokenizer) -> dict[str, list[list[str]]]:
    state: dict[str, dict[str, list[list[str]]]] = json.loads(tokenizer.to_str())
    return state["model"]
