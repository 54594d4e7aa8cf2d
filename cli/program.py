"""Where the program `segwatch` is: beside its interpreter in a venv, or the single file that carries one (deploy/binary)."""

from __future__ import annotations

import sys
from pathlib import Path


def one_file() -> str:
    """The absolute path of the single file that this is; "" for an install by pip."""
    return str(sys._xoptions.get("segwatch", ""))  # noqa: SLF001 - documented: what start.c gives as `-X segwatch=PATH`


def path() -> str:
    """The absolute path by which it is started again."""
    return one_file() or str(Path(sys.executable).with_name("segwatch"))
