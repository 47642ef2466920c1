"""What the tokens of one attention layer ask for, offer and give: the value that attention modes compute with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch


class QKV:
    """Query, key and value of one call of an attention layer, as it attends: after any norm, with any position put in.

    Each is (rows, heads, tokens, head_dim) and is computed at its first use: a frame that queries a source alone
    never needs keys and values of its own.
    """

    def __init__(
        self,
        query: Callable[[], torch.Tensor],
        key: Callable[[], torch.Tensor],
        value: Callable[[], torch.Tensor],
        *,
        rows: int,
        tokens: int,
        heads: int,
        dtype: torch.dtype,
        unplaced_key: Callable[[], torch.Tensor] | None = None,
        place: Callable[[torch.Tensor, tuple[int, int], tuple[int, int]], torch.Tensor] | None = None,
        place_at: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        text: QKV | None = None,
        fill: torch.Tensor | None = None,
        query_after_text: Callable[[], torch.Tensor] | None = None,
        places_differ: bool = False,
    ) -> None:
        """What gives the three, and where a layer knows positions, the key without them and what puts them in."""
        self._query, self._key, self._value = query, key, value
        self._query_after_text = query_after_text
        self._unplaced_key, self._place, self._place_at = unplaced_key, place, place_at
        self.places_differ = places_differ
        """Whether rows and calls put the same grid at different places, so that no placed key serves another call."""
        self.rows = rows
        """Branches x frames."""
        self.tokens = tokens
        """Of the picture, one for each cell of the layer's grid."""
        self.heads = heads
        self.dtype = dtype
        """Number format in which the layer computes."""
        self.text = text
        """The same of the prompt's tokens, in a layer where they stand in one softmax with the picture's; None: they
        have a layer of their own."""
        self.fill = fill
        """Of a prompt's tokens, (rows, tokens): what is added to the scores of those that only fill it up, below 0, and
        0 for the others; those that fill up see all alike. None: all count the same."""

    @cached_property
    def query(self) -> torch.Tensor:
        """(rows, heads, tokens, head_dim)."""
        if self.text is not None and "query_after_text" in self.__dict__:
            return self.query_after_text[:, :, self.text.tokens :]
        return self._query()

    @cached_property
    def query_after_text(self) -> torch.Tensor:
        """The text's queries and then the picture's, (rows, heads, text tokens + tokens, head_dim).

        Where there is no text, it is the query; where the layer can, both are made at once.
        """
        if self.text is None:
            return self.query
        if self._query_after_text is not None:
            return self._query_after_text()
        return torch.cat([self.text.query, self.query], dim=2)

    @property
    def knows_places(self) -> bool:
        """Whether positions are put into keys, so that `placed` changes them."""
        return self._place is not None

    @property
    def unplaced_key(self) -> torch.Tensor:
        """The key before any position is put in, (rows, heads, tokens, head_dim): what is recorded of a source."""
        return self.key if self._unplaced_key is None else self._unplaced_key()

    def placed(self, key: torch.Tensor, grid: tuple[int, int], first: tuple[int, int] = (0, 0)) -> torch.Tensor:
        """Recorded keys (..., heads, tokens, head_dim) with the positions of their grid (height, width) put in.

        Args:
            first: row and column of the grid's first token.
        """
        return key if self._place is None else self._place(key, grid, first)

    def placed_at(self, key: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """The same with a place for each token: (tokens, 2), row and column, with fractions."""
        return key if self._place_at is None else self._place_at(key, places)

    @cached_property
    def key(self) -> torch.Tensor:
        """(rows, heads, tokens, head_dim)."""
        return self._key()

    @cached_property
    def value(self) -> torch.Tensor:
        """(rows, heads, tokens, head_dim)."""
        return self._value()

    def beside(self, key: torch.Tensor, value: torch.Tensor) -> QKV:
        """The same tokens of a picture that has others too: their keys and values (rows, heads, others, head_dim)."""
        return QKV(
            lambda: self.query,
            lambda: torch.cat([self.key, key], dim=2),
            lambda: torch.cat([self.value, value], dim=2),
            rows=self.rows,
            tokens=self.tokens,
            heads=self.heads,
            dtype=self.dtype,
            unplaced_key=lambda: self.unplaced_key,
            place=self._place,
            place_at=self._place_at,
            text=self.text,
            fill=self.fill,
            query_after_text=lambda: self.query_after_text,
            places_differ=self.places_differ,
        )

    def of_rows(self, rows: list[int]) -> QKV:
        """Some of the rows."""
        return QKV(
            lambda: self.query[rows],
            lambda: self.key[rows],
            lambda: self.value[rows],
            rows=len(rows),
            tokens=self.tokens,
            heads=self.heads,
            dtype=self.dtype,
            unplaced_key=lambda: self.unplaced_key[rows],
            place=self._place,
            place_at=self._place_at,
            text=None if self.text is None else self.text.of_rows(rows),
            fill=None if self.fill is None else self.fill[rows],
            query_after_text=lambda: self.query_after_text[rows],
            places_differ=self.places_differ,
        )


def split_heads(states: torch.Tensor, heads: int) -> torch.Tensor:
    """(..., tokens, channels) → (..., heads, tokens, head_dim)."""
    return states.reshape(*states.shape[:-1], heads, -1).transpose(-3, -2)


def merge_heads(states: torch.Tensor) -> torch.Tensor:
    """(..., heads, tokens, head_dim) → (..., tokens, channels): `split_heads` undone, without a copy."""
    return states.transpose(-3, -2).flatten(-2)


def by_branch(states: torch.Tensor, branches: int) -> torch.Tensor:
    """(rows, heads, tokens, head_dim) → (branches, frames, heads, tokens, head_dim)."""
    return states.reshape(branches, -1, *states.shape[1:])


def as_one_long_query(query: torch.Tensor, branches: int) -> torch.Tensor:
    """(rows, heads, tokens, head_dim) → (branches, heads, frames x tokens, head_dim), without a copy.

    The frames of a branch query the same source, so that they are one long query.
    """
    by_token = query.transpose(1, 2)  # -> (rows, tokens, heads, head_dim), as it lies in memory
    return by_token.reshape(branches, -1, *by_token.shape[2:]).transpose(1, 2)


def word_attention(
    query: torch.Tensor, key: torch.Tensor, words: Sequence[int], bias: torch.Tensor | None = None
) -> torch.Tensor:
    """How the attention to a prompt alone goes to some of its words: mean over heads, sum over the words.

    Args:
        query: of the picture, (rows, heads, tokens, head_dim).
        key: of the prompt, (rows, heads, text tokens, head_dim).
        words: positions in the prompt.
        bias: added to the scores, which have the shape (rows, heads, tokens, text tokens).

    Returns:
        (rows, tokens) in float32.
    """
    query, key = query.float(), key.float()
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    maps: torch.Tensor = (scores if bias is None else scores + bias.float()).softmax(dim=-1)
    return maps[..., list(words)].sum(dim=-1).mean(dim=1)
