"""An estate of which others said what they could: escapes, bidi, characters without width, line ends, in every text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

import msgspec

from coordinator.api.errors import encoded
from tests.support.fake_api import FakeCoordinator

BEGINS = "INJECTED"  # a line of a terminal or a file, if it is
EVIL = f"\x1b[2J\x1b]52;c;Y3Vy\x07\r\x08\x9b31m\x00\x7f\x85\u202e\u2066\u200b\u200d\u2060\ufeff\u00ad\u3164\u2028\u2029\U000e0041\n{BEGINS} \x1b[32m✓"
_LINES = "topology"  # of a draft: the one text that has several
# Words of a vocabulary and names: of others no answer is read, or they are what was asked for.
_NOT_TEXTS = re.compile(
    "run|id|finding|state|result|results|status|kind|severity|sensitivity|require|declared|reachability|proof|protocols?|ports|"
    "arrival|canary|inside|outcome|what|expect|schedule|source|destination|environments?|agents?|names?|findings"
)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


class Evil(FakeCoordinator):
    """Answers with `EVIL` behind every text that somebody else than segwatch writes; `said` has the keys of those."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.said: set[str] = set()

    def get(self, path: str, query: dict[str, str]) -> Any:
        return self._spoilt(super().get(path, query))

    def post(self, path: str, body: Any) -> Any:
        return self._spoilt(super().post(path, body))

    def _spoilt(self, answer: Any) -> bytes:
        return msgspec.json.encode(self._texts("", msgspec.json.decode(encoded(answer))))

    def _texts(self, key: str, value: Any) -> Any:
        match value:
            case str() if not _NOT_TEXTS.fullmatch(key) and not _TIME.fullmatch(value):
                self.said.add(key)
                return value + (EVIL if key != _LINES else EVIL.replace("\n", ""))
            case list():
                return [self._texts(key, one) for one in value]
            case Mapping():
                return {name: self._texts(name, one) for name, one in value.items()}
            case _:
                return value


def harms(text: str) -> list[str]:
    """The lines of a text that hold something of `EVIL` that acts, or are of its making."""
    return [line for line in text.split("\n") if line.startswith(BEGINS) or any(map(_acts, line))]


def _acts(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} or char == "\u3164"
