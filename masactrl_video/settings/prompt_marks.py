"""Marks in prompts that other programs act on (A1111, ComfyUI, compel), and a text encoder reads as words."""

from __future__ import annotations

import re

_MARKS = re.compile(
    "|".join(
        (
            r"<[A-Za-z]\w*:[^<>]+>",  # <lora:x:0.8>
            r"(?<!\\)\((?:[^()\\]|\\.)*[^()\\\d\s]\s*:\s*[+-]?[.\d]+\s*\)",  # (word:1.3); but (at 12:30) is a time
            r"(?<!\\)\((?:[^()\\]|\\.)+:\s*[+-]?\d*\.\d+\s*\)",
            r"(?<!\\)\(\((?:[^()\\]|\\.)+\)\)",  # ((word)); (word) may well be plain text
            r"(?<!\\)\((?:[^()\\]|\\.)+\)(?:\++|\d*\.\d+)(?!\w)",  # (word)++
            r"(?<!\\)\[(?:[^\[\]\\]|\\.)+\]",  # [word], [a:b:0.5], [a|b]
            r"(?<!\\)\{[^{}]*\|[^{}]*\}|(?<!\\)\{\{[^{}]+\}\}",  # {a|b}, {{word}}
            r"\bembedding:[\w./-]+",
            r"__[\w*/-]+__",
            r"(?<!\S)--(?:ar|v|s|q|no|niji|style|stylize|chaos)\s+[\w:.]+|\w+::-?[.\d]+",
        )
    )
)
_SHOUTED = re.compile(r"\b(?:BREAK|AND|ADDCOMM|ADDBASE|ADDCOL|ADDROW)\b")


def marks_in(prompt: str) -> list[str]:
    """Such marks as they stand in a prompt, in order, each once; parentheses alone are none, nor is what is escaped."""
    found = [(match.start(), match[0]) for match in _MARKS.finditer(prompt)]
    if prompt != prompt.upper():  # in capitals throughout, words of capitals are words
        found += [(match.start(), match[0]) for match in _SHOUTED.finditer(prompt)]
    return list(dict.fromkeys(mark for _, mark in sorted(found)))
