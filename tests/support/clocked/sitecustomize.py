"""Imported by each Python that a clock of its own is given: libfaketime 0.9.10 lets every sleep fail with EINVAL.

Python 3.11 sleeps until a moment of the monotonic clock, which the library computes anew, with a billion nanoseconds and more.
"""

import select
import time
from typing import Any


def _sleep(seconds: Any) -> None:
    select.select([], [], [], seconds)


time.sleep = _sleep
