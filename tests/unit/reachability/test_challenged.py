"""What a challenge says of a port, and of no other; and whether the host answered what was ours."""

from __future__ import annotations

from dataclasses import replace

from reachability.arrival import Untokened
from reachability.evidence import conclude
from reachability.ports import PortSet
from reachability.round_data import RoundData
from reachability.verdict import Verdict
from reachability.vocabulary import Protocol, Reachability, RoundKind
from tests.support.round_data import PROD, TCP, data, silence, source, verdicts, witness

SLOTS = (1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0)
OURS = tuple(1000 + index * 200 + extra for index, on in enumerate(SLOTS) if on for extra in (20, 90))
FLOW = Untokened(address=PROD, protocol=Protocol.TCP, port=22, came_from="10.20.0.9", source_port=40001, count=1)
HTTP = replace(FLOW, port=80)


def main() -> RoundData:
    """A round in which packets without a token came in at ports 22 and 80."""
    return data(TCP, src=source(silence()), wit=(witness(untokened=(FLOW, HTTP)),))


def challenge(ports: str, *flows: Untokened) -> RoundData:
    narrow = replace(TCP, ports=PortSet.parse(ports))
    asked = source(slots=SLOTS, slot_ms=200.0)
    return data(narrow, src=asked, wit=(witness(untokened=flows),), kind=RoundKind.CHALLENGE)


def of_port_22(*flows: Untokened) -> Verdict:
    """The verdict after a challenge of it in which these came in."""
    return verdicts(conclude([main(), challenge("22", *flows)]))["22"][0]


def test_a_challenge_says_nothing_of_a_port_that_it_did_not_try() -> None:
    """Nothing comes to port 80 while port 22 alone is tried: that is no proof that port 80 is shut."""
    found = verdicts(conclude([main(), challenge("22")]))
    assert (found["80"][0].reason, found["22"][0].reachability) == ("undecided", Reachability.BLOCKED)
    both = verdicts(conclude([main(), challenge("22,80")]))
    assert both["22,80"][0].reachability is Reachability.BLOCKED


def test_an_answer_to_ours_that_did_not_come_back_is_one_way_and_silence_is_not() -> None:
    mine = replace(FLOW, count=len(OURS), times_ms=OURS)
    silent, answered = of_port_22(mine), of_port_22(replace(mine, answered=True))
    assert (silent.reachability, silent.row) == (Reachability.BLOCKED_AT_HOST, 11)
    assert (answered.reachability, answered.row) == (Reachability.ONE_WAY, 10)


def test_an_answer_to_somebody_else_is_none_to_ours() -> None:
    mine = replace(FLOW, count=len(OURS), times_ms=OURS)
    other = replace(FLOW, came_from="10.20.0.7", times_ms=(700, 2900), count=2, answered=True)
    assert of_port_22(mine, other).reachability is Reachability.BLOCKED_AT_HOST
