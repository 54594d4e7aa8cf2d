"""Where packets that go through the kernel leave from."""

from __future__ import annotations

from typing import NamedTuple


class Way(NamedTuple):
    """This host's end of a flow, as `bind` takes it."""

    address: str
    port: int
