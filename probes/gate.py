"""What this process may send to, and when: asked at every socket immediately before something leaves, whatever was ordered.

The bounds are the host's own. They come with `Configure`, out of the agent's configuration: no order brings any.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_address

import numpy as np
from numpy.typing import NDArray

from reachability.allow import AllowList

LOOK_S = 1.0  # a blackout begins within that
MOST_KEPT = 65_536  # addresses that are decided; those of a sweep are far fewer
_TCP, _UDP = 6, 17
_LOW_BITS = 0x0F  # of the first byte, below the version
_ECHO_REQUEST = {1: 8, 58: 128}  # ICMP, ICMPv6


class NotAllowed(Exception):  # noqa: N818 - it is a refusal, by its name in the reports
    """Nothing was sent; the text says why.

    No OSError: what takes those for silence, a refusal or a full queue does not take this for one. It ends its round.
    """


class Gate:
    """The allow-list of the host's owner, with its blackouts. What is decided of an address is remembered."""

    def __init__(
        self,
        allow: AllowList | None,
        broker: tuple[str, int] = ("", 0),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`allow`: None where whoever sits at the terminal asks; `now`: an aware time, which blackouts go by."""
        self._now, self._clock = now, clock
        self.take(allow, broker)

    def take(self, allow: AllowList | None, broker: tuple[str, int]) -> None:
        """Others are in force from now on; `broker`: where the agent is connected, which is a control, unless it is denied."""
        self._allow, self._broker = allow, broker
        self._known: dict[str | bytes, str] = {}
        self._why_now, self._look_at = "", 0.0

    def refuses(self, address: str, port: int = 0) -> str:
        """Why nothing may be sent there now, "" when it may; `port`: of TCP or UDP, where it is known."""
        return self.refuses_now() or self._refuses(address, port)

    def refuses_host(self, address: str) -> str:
        """Why nothing may be sent to any port of it now; "" when it may be to one."""
        return self.refuses(address, self._broker[1] if address == self._broker[0] else 0)

    def refuses_now(self) -> str:
        """Why nothing may be sent at this moment, wherever to; "" when it may."""
        if self._allow is not None and (at := self._clock()) >= self._look_at:
            self._look_at = at + LOOK_S
            self._why_now = self._allow.refuses_now(self._now())
        return self._why_now

    def check(self, address: str, port: int) -> None:
        """Before a connection or datagram of the kernel's; NotAllowed."""
        if why := self.refuses(address, port):
            raise NotAllowed(why)

    def check_packet(self, data: bytes) -> None:
        """Before a packet, layer 3 up: where it says that it goes counts; NotAllowed."""
        if why := self.refuses_now() or self._of(_destination(data), data):
            raise NotAllowed(why)

    def check_packets(self, rows: NDArray[np.uint8]) -> None:
        """Before a batch, a packet each row; NotAllowed when one of them may not go, and then none does."""
        at = slice(24, 40) if rows[0, 0] >> 4 == 6 else slice(16, 20)  # noqa: PLR2004
        words = np.ascontiguousarray(rows[:, at]).view(np.uint32)
        strange = (rows[:, 0] ^ rows[0, 0]) > _LOW_BITS
        for column in words.T:
            strange |= column != column[0]
        self.check_packet(rows[0].tobytes())
        for row in rows[strange]:
            self.check_packet(row.tobytes())

    def check_echo(self, data: bytes) -> None:
        """Before this host's own gateway is asked for an echo, in a blackout too: nothing else, and not where it is denied."""
        kind = data[40] if data[0] >> 4 == 6 else data[20]  # noqa: PLR2004
        if kind != _ECHO_REQUEST.get(_protocol(data)):
            raise NotAllowed("a gateway is asked for an echo alone")
        if self._allow is not None and (why := self._allow.denies(str(ip_address(_destination(data))))):
            raise NotAllowed(why)

    def _of(self, destination: bytes, data: bytes) -> str:
        why = self._known.get(destination)
        if why is None:
            why = self._keep(destination, self._refuses(str(ip_address(destination))))
        if why and self._broker[0]:
            return self._refuses(str(ip_address(destination)), _port(data))
        return why

    def _refuses(self, address: str, port: int = 0) -> str:
        if self._allow is None:
            return ""
        why = self._known.get(address)
        if why is None:
            why = self._keep(address, self._allow.refuses(address))
        if why and port and (address, port) == self._broker:
            return self._allow.denies(address)
        return why

    def _keep(self, address: str | bytes, why: str) -> str:
        if len(self._known) >= MOST_KEPT:
            self._known.clear()
        self._known[address] = why
        return why


def _destination(data: bytes) -> bytes:
    return data[24:40] if data[0] >> 4 == 6 else data[16:20]  # noqa: PLR2004


def _protocol(data: bytes) -> int:
    return data[6] if data[0] >> 4 == 6 else data[9]  # noqa: PLR2004


def _port(data: bytes) -> int:
    """Where it goes, of TCP and UDP; 0 of all else. What this process sends has no options and no extension headers."""
    at = 42 if data[0] >> 4 == 6 else 22  # noqa: PLR2004
    return int.from_bytes(data[at : at + 2]) if _protocol(data) in {_TCP, _UDP} else 0
