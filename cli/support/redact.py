"""The filter that every text goes through: what is a secret, or looks like one, is replaced by `[removed]`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

REMOVED = "[removed]"
KEY_REACH = (
    16 * 1024
)  # characters between the two marks of a key, whatever a log puts before each line; RSA 4096: 3,300
_MARK = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]{0,40}PRIVATE KEY(?: [A-Z]{1,10})?-----")
_RUN = re.compile(r"[A-Za-z0-9+/=]{16,}")
_BODY = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= \t\r\n\\")
_NAMES = r"token|password|passwd|passphrase|secret|api[_-]?key|private[_-]?key|cookie"
_IS = r"""(?:\\*["'])?[ \t]*[=:][ \t]*(?:\\*["'])?"""
_LOOKS = re.compile(rf"(?i){_NAMES}|authorization|bearer|://|PRIVATE KEY|try1\.")
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(rf"""(?i)(authorization{_IS}(?:(?:bearer|basic|digest|negotiate|token)[ \t]+)?)[^\s"'\\,;]+"""),
        rf"\1{REMOVED}",
    ),
    (re.compile(r"(?i)\b(bearer[ \t]+)[a-z0-9._~+/-]{8,}=*"), rf"\1{REMOVED}"),
    (re.compile(rf"""(?i)((?:{_NAMES}){_IS})(?!\[removed\])[^\s"'\\&,;{{}}\[\]()]+"""), rf"\1{REMOVED}"),
    (re.compile(r"""://[^\s/?#"'<>\\]*@"""), f"://{REMOVED}@"),
    (re.compile(r"\btry1\.[A-Za-z0-9_.=-]+"), f"try1.{REMOVED}"),  # the line of a try has its round's key
)
_NAMED = re.compile(rf"(?i)(?:\w*[_-])?(?:{_NAMES}|authorization)")


class Filter:
    """Takes secrets out of texts; `removed` counts how many."""

    def __init__(self, known: Iterable[bytes]) -> None:
        """`known` are secrets in the forms of `keys.forms_of`."""
        self._known = sorted(set(known), key=lambda form: (-len(form), form))
        self.removed = 0

    def raw(self, data: bytes) -> str:
        """A file's bytes as a text."""
        return self.text(self._without_known(data).decode("utf-8", "replace"))

    def text(self, text: str) -> str:
        """A text."""
        return self._without_known(self._by_looks(text).encode("utf-8", "replace")).decode("utf-8", "replace")

    def body(self, value: Any) -> str:
        """What JSON holds, as JSON: each text in it by itself, so that it stays JSON."""
        whole = json.dumps(self._inside(value), indent=1)
        return self._without_known(whole.encode()).decode("utf-8", "replace") + "\n"

    def _inside(self, value: Any) -> Any:
        match value:
            case str():
                return self._by_looks(value)
            case dict():
                return {self._by_looks(str(name)): self._of(str(name), inner) for name, inner in value.items()}
            case list() | tuple():
                return [self._inside(inner) for inner in value]
        return value

    def _of(self, name: str, value: Any) -> Any:
        if isinstance(value, str) and value and _NAMED.fullmatch(name):
            self.removed += 1
            return REMOVED
        return self._inside(value)

    def _by_looks(self, text: str) -> str:
        if not _LOOKS.search(text):
            return text
        text = self._without_keys(text)
        for pattern, instead in _PATTERNS:
            text, count = pattern.subn(instead, text)
            self.removed += count
        return text

    def _without_keys(self, text: str) -> str:
        spans = sorted(_keys(text))
        parts, at = [], 0
        for start, end in spans:
            if end <= at:
                continue
            parts += [text[at : max(at, start)], REMOVED]
            at = end
        self.removed += len(parts) // 2
        return "".join([*parts, text[at:]])

    def _without_known(self, data: bytes) -> bytes:
        for form in self._known:
            if form in data:
                self.removed += data.count(form)
                data = data.replace(form, REMOVED.encode())
        return data


def _keys(text: str) -> Iterator[tuple[int, int]]:
    """Where private keys in PEM are, from mark to mark; of one that is cut off, all near its mark that may belong to it."""
    marks = list(_MARK.finditer(text))
    closed = -1
    for index, mark in enumerate(marks):
        if mark[1] == "BEGIN":
            after = marks[index + 1] if index + 1 < len(marks) else None
            if after is not None and after[1] == "END" and after.start() - mark.end() <= KEY_REACH:
                closed = index + 1
                yield mark.start(), after.end()
                continue
            low, high = mark.end(), min(mark.end() + KEY_REACH, after.start() if after else len(text))
            end = low
            while end < high and text[end] in _BODY:
                end += 1
            yield mark.start(), end
        elif index == closed:
            continue
        else:
            low, high = max(mark.start() - KEY_REACH, marks[index - 1].end() if index else 0), mark.start()
            start = high
            while start > low and text[start - 1] in _BODY:
                start -= 1
            yield start, mark.end()
        yield from (run.span() for run in _RUN.finditer(text, low, high))
