"""Whether an order is new: it must repeat a challenge that this agent has recently put into its status, and come in order.

No clock is trusted. A challenge is random, made by this process: what repeats it was signed after it was made, so that an
order from before a restart, one that was held back and one that is played again are told from a new one by this process's
own steady clock, without a file. Since nobody can guess the next challenge, no order can be signed in advance.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from wire.signing import LIFETIME_S, Refused, Replayed, SignedOrder, channel_of
from wire.topics import DownChannel

RENEW_S = 10.0  # a status that is said sooner repeats the last one
SLACK_S = 65.0  # an agent that says nothing for this long is lost to its coordinator, which sends it nothing


@dataclass(frozen=True, slots=True)
class _Challenge:
    number: int
    asked: float


class Challenges:
    """The challenges of one start of an agent, and how far the orders have come that repeated them."""

    def __init__(
        self, clock: Callable[[], float], random: Callable[[], bytes] = lambda: secrets.token_bytes(16)
    ) -> None:
        """`clock` gives seconds that never jump."""
        self._clock, self._random = clock, random
        self._asked: dict[bytes, _Challenge] = {}
        self._last = b""
        self._number = 0
        self._taken: dict[DownChannel, tuple[int, int]] = {}

    def current(self) -> bytes:
        """What the next status asks to be repeated."""
        now = self._clock()
        newest = self._asked.get(self._last)
        if newest is None or now - newest.asked >= RENEW_S:
            self._forget(now)
            self._number += 1
            self._last = self._random()
            self._asked[self._last] = _Challenge(self._number, now)
        return self._last

    def take(self, order: SignedOrder) -> None:
        """Refused unless the order is new; none is taken a second time."""
        if not order.echo:
            raise Refused("a message repeats no challenge of this agent: the coordinator is older. Upgrade it")
        challenge = self._asked.get(order.echo)
        if challenge is None:
            raise Replayed(
                "a message repeats nothing that this agent has recently asked: it was held back, or is from another start"
            )
        # By its own steady clock it is this old at most: that is all that can be known of its age.
        age_s, lifetime_s = self._clock() - challenge.asked, min(order.expires - order.issued, LIFETIME_S)
        if not age_s <= lifetime_s + SLACK_S:
            raise Refused(f"a message has expired: it was for {lifetime_s:.0f} s and came up to {age_s:.0f} s late")
        channel = channel_of(order.body)
        place = (challenge.number, order.sequence)
        taken = self._taken.get(channel, (0, 0))
        if place <= taken:
            raise Replayed(
                f"a message was replayed, or overtaken by a newer one: sequence {order.sequence}, {taken[1]} was taken"
            )
        self._taken[channel] = place

    def _forget(self, now: float) -> None:
        for value, challenge in list(self._asked.items()):
            if now - challenge.asked > LIFETIME_S + SLACK_S:
                del self._asked[value]
