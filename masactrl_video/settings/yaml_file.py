"""YAML in, plain data out: text is as it was written wherever text is wanted.

YAML takes plain words for other things than text: `No`, `on`, `12:30`, `1999`, `~`, `2024-01-01`. What is wanted in a
place is known from the record that the file is read for, so each word is resolved by the type of its field.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

from masactrl_video.errors import UserError
from masactrl_video.settings.text_file import read_text

_MOST_BYTES = 100_000

_NOT_YAML = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""PyYAML lets all of them through."""

_CORE = "tag:yaml.org,2002:"
_NUMBERS, _WORDS = ("int", "float"), ("str", "null", "bool", "int", "float", "timestamp", "value")


@dataclass(frozen=True)
class SettingsOf:
    """Marks a field with free keys whose values are those of a record's fields."""

    record: type[BaseModel]


class _Plain(str):
    """A word without quotes that YAML would not take for text, as it was written."""

    kind: str
    """`null`, `bool`, `int`, `float` or `timestamp`."""
    value: Any
    """What YAML makes of it."""


class _NotRead(yaml.YAMLError):
    """YAML that we do not read, with its line."""


class _Loader(yaml.SafeLoader):
    """Plain data only, and none that is larger than its text: a few lines of references can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise _NotRead(
                f"line {event.start_mark.line + 1}: references (*{event.anchor}) are not read; write the value out"
            )
        return super().compose_node(parent, index)

    def data_of(self, node: yaml.Node) -> Any:
        """Lists, mappings with keys of text, text, and `_Plain` words."""
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_CORE}map":
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_CORE}seq":
            return [self.data_of(item) for item in node.value]
        kind = node.tag.removeprefix(_CORE)
        if not isinstance(node, yaml.ScalarNode) or kind not in _WORDS:
            tag = node.tag.replace(_CORE, "!!")
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: the tag {tag} is not read; leave it out")
        return node.value if kind in ("str", "value") else self._plain(node, kind)

    def _plain(self, node: yaml.ScalarNode, kind: str) -> Any:
        word = _Plain(node.value)
        word.kind = kind
        is_clock, is_octal = ":" in word, word.lstrip("+-").isdigit() and word.lstrip("+-") != str(abs(int(word)))
        if kind == "timestamp" or (kind in _NUMBERS and (is_clock or is_octal)):
            word.value = node.value  # YAML makes 750 of 12:30 and 10 of 012, which nobody means who writes a number
        else:
            word.value = self.construct_object(node)
        return word

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        data: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == f"{_CORE}merge":
                raise _NotRead(f"line {line}: merge keys (<<) are not read; write the values out")
            key = self.data_of(key_node)
            if not isinstance(key, str):
                raise _NotRead(f"line {line}: a key is one word or text, not a list or mapping")
            if key in data:
                raise _NotRead(
                    f"line {line}: the key {key!r} stands in line {lines[key]} already, and only one of the two would "
                    "count; keep one, with all that belongs to it"
                )
            data[key], lines[key] = self.data_of(value_node), line
        return data


def read_yaml(path: Path, record: type[BaseModel]) -> dict[str, Any]:
    """A mapping from a YAML file, for the fields of a record; keys that it does not have are left for it to refuse.

    Raises:
        UserError: no such file, not YAML, not a mapping, or a key that stands twice.
    """
    text = read_text(path, "a configuration", _MOST_BYTES)
    try:
        data = _parse(text)
        if isinstance(data, dict) and not any(isinstance(key, _Plain) for key in data):
            return {key: _as(_wanted(record, key), value) for key, value in data.items()}
    except _NotRead as error:
        raise UserError(f"{path}: {error}") from error
    except _NOT_YAML as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if data in (None, ""):
        raise UserError(f"{path} is empty: no key stands in it; write a mapping of settings to values, such as seed: 1")
    kinds: dict[type, str] = {dict: "keys that are no names", list: "a list"}
    got = kinds.get(type(data), "a word")
    raise UserError(f"{path}: a configuration is a mapping of settings to values, got {got}")


def _parse(text: str) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else loader.data_of(node)
    finally:
        loader.dispose()


def _wanted(record: type[BaseModel], name: str) -> Any:
    """The type of a field, with its marks; Any for one that there is not."""
    field = record.model_fields.get(name)
    if field is None:
        return Any
    marks = [mark for mark in field.metadata if isinstance(mark, SettingsOf)]
    return marks[0] if marks else field.annotation


def _as(wanted: Any, value: Any) -> Any:
    """The value with every plain word resolved by the type that is wanted there."""
    kinds = _alternatives(wanted)
    if isinstance(value, _Plain):
        return _word(kinds, value)
    if isinstance(value, list):
        return [_as(kind, item) for item, kind in zip(value, _of_items(kinds, len(value)), strict=True)]
    if isinstance(value, dict):
        return _mapping_as(kinds, value)
    return value


def _word(kinds: list[Any], word: _Plain) -> Any:
    if Any in kinds or (word.kind == "null" and (type(None) in kinds or not word)):
        return word.value
    classes = [kind for kind in kinds if isinstance(kind, type)]
    wanted = {"bool": (bool,), "int": (int, float), "float": (int, float)}.get(word.kind, ())
    for kind in classes:
        if issubclass(kind, wanted) and (word.kind == "bool" or kind is not bool):
            return word.value
    return str(word)  # also where neither is wanted: the record says what is, beside the word as it was written


def _of_items(kinds: list[Any], count: int) -> list[Any]:
    """What is wanted in each place of a list; text where a list is a short form of something else."""
    for kind in kinds:
        if kind is Any:
            return [Any] * count
        parts = get_args(kind)
        if get_origin(kind) is tuple and len(parts) == count:
            return list(parts)
        if get_origin(kind) in (list, tuple) and parts:
            return [parts[0]] * count
    rows = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return [Any if rows else str] * count


def _mapping_as(kinds: list[Any], value: Mapping[str, Any]) -> dict[str, Any]:
    for kind in kinds:
        if isinstance(kind, SettingsOf):
            return {str(key): _as(_wanted(kind.record, key), item) for key, item in value.items()}
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return {str(key): _as(_wanted(kind, key), item) for key, item in value.items()}
        if get_origin(kind) is dict:
            return {str(key): _as(get_args(kind)[1], item) for key, item in value.items()}
    return {str(key): _as(Any, item) for key, item in value.items()}


def _alternatives(wanted: Any) -> list[Any]:
    """Members of a union, without marks; a choice of words counts as text."""
    origin = get_origin(wanted)
    if origin is Annotated:
        return _alternatives(get_args(wanted)[0])
    if origin in (Union, types.UnionType):
        return [kind for part in get_args(wanted) for kind in _alternatives(part)]
    return [str] if origin is Literal else [wanted]
