"""What a daemon tells the service manager that started it: sd_notify(3), a datagram of lines such as READY=1."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

SEND_S = 1.0  # a manager that does not read must not hold the daemon up
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Says how this process is, to nobody where no manager asked for it. What cannot be delivered is dropped.

    `watchdog_s` is how long the manager waits for the next `alive` before it ends the process; 0 when it does not wait.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        """`address` as in $NOTIFY_SOCKET: a path, or a name in the abstract namespace after an @."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_s = watchdog_s if address else 0.0

    @classmethod
    def taken(cls, environment: MutableMapping[str, str] = os.environ) -> Notifier:
        """From the environment, which then holds nothing of it: a child must not speak in this process's name."""
        address, watchdog, process = (environment.pop(name, "") for name in VARIABLES)
        meant = process in {"", str(os.getpid())} and watchdog.isdecimal()
        return cls(address, int(watchdog) / 1e6 if meant else 0.0)

    def __bool__(self) -> bool:
        """Whether there is a manager that listens."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """It serves, for the first time or after a reload; `status` is one sentence for people."""
        self._say("READY=1", f"STATUS={_line(status)}")

    def alive(self, status: str) -> None:
        """It makes progress."""
        self._say("WATCHDOG=1", f"STATUS={_line(status)}")

    def stuck(self, status: str) -> None:
        """It does not: the manager may end it soon."""
        self._say(f"STATUS={_line(status)}")

    def reloading(self) -> None:
        """It reads its configuration anew; `ready` says when that is over."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """It is about to end, and says nothing more."""
        self._say("STOPPING=1", "STATUS=stopped")
        self._address = ""

    def _say(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(SEND_S)
                sender.sendto("\n".join(lines).encode(), self._address)
        except (OSError, ValueError):  # the manager is away, or the address is none: serving does not depend on it
            return


def _line(text: str) -> str:
    return " ".join(text.split())
