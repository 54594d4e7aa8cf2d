"""Who sent what came in a host's name."""

from __future__ import annotations

from itertools import product

import pytest

from reachability.distance import Closer, Distances, closer
from reachability.verdict import Evidence, judge
from reachability.vocabulary import Protocol, Reachability, Reason, State

ROUTED = "eth0 10.10.0.1"


@pytest.mark.parametrize(
    ("hops", "host_hops", "via", "who"),
    [
        (0, 1, ROUTED, Closer.PATH),
        (1, 3, ROUTED, Closer.PATH),
        (1, 1, ROUTED, Closer.AS_FAR_AS_THE_HOST),
        (2, 1, ROUTED, Closer.AS_FAR_AS_THE_HOST),
        (0, 0, "eth0 direct", Closer.AS_FAR_AS_THE_HOST),
        (None, 1, ROUTED, Closer.UNKNOWN),
        (0, None, ROUTED, Closer.PATH),
        (1, None, ROUTED, Closer.UNKNOWN),
        (0, None, "eth0 direct", Closer.UNKNOWN),
        (0, None, "", Closer.UNKNOWN),
    ],
)
def test_closer(hops: int | None, host_hops: int | None, via: str, who: Closer) -> None:
    assert closer(hops, host_hops, via) is who


HOST, PORT, OPEN = "10.30.0.20", 81, 80
LEGS = (2, 3)  # routers on two ways back from one host
AGAIN = 4  # answers that its open port gives


def reset_after(host: Distances, resets: tuple[int, ...]) -> Evidence:
    """A port that is closed from inside too, and whose RSTs crossed that many routers."""
    return Evidence(
        protocol=Protocol.TCP,
        state=State.CLOSED,
        reason=Reason.RESET,
        sent=3,
        covered=3,
        flows=3,
        hops=max(resets),
        host_hops=host.host[HOST],
        least_hops=host.least.get(HOST),
        inside=State.CLOSED,
        control=True,
        via=ROUTED,
    )


@pytest.mark.parametrize("echo", [None, *LEGS])
@pytest.mark.parametrize("opened", [(), *product(LEGS, repeat=AGAIN)])
@pytest.mark.parametrize("again", [(), *product(LEGS, repeat=AGAIN)])
def test_ways_back_of_unequal_length_make_no_path_of_the_hosts_own_resets(
    echo: int | None, opened: tuple[int, ...], again: tuple[int, ...]
) -> None:
    """All of these are the host's own: green only if each of its RSTs came the short way, and all else the long one."""
    short, long = LEGS
    for resets in product(LEGS, repeat=3):
        host = Distances()
        for hops in opened:
            host.replied(HOST, hops, tcp=True)
        if echo is not None:
            host.replied(HOST, echo, echo=True)
        for hops in resets:
            host.reset(HOST, PORT, hops)
        for hops in again:  # of another closed port, as a control
            host.reset(HOST, PORT + 1, hops)
        if HOST not in host.host:
            continue
        apart = {*resets, short} == {short} and long in {echo, *opened}
        unseen = short not in {echo, *opened} and len(set(again)) < len(LEGS)
        green = judge(reset_after(host, resets)).reachability is Reachability.NO_SESSION
        assert green == (apart and unseen)


def test_what_resets_nearer_than_all_that_the_host_says_is_the_path() -> None:
    host = Distances()
    host.replied(HOST, 3, echo=True)
    host.replied(HOST, 3, tcp=True)
    host.reset(HOST, PORT, 1)
    host.reset(HOST, PORT, 1)
    assert (host.host, host.least) == ({HOST: 3}, {HOST: 3})
    assert judge(reset_after(host, (1, 1, 1))).row == 7


def test_a_proxy_of_one_port_does_not_tell_how_far_the_host_is() -> None:
    """What the host's witness knows nothing of is not the host's, whichever way: its echo's distance counts there."""
    host = Distances()
    host.replied(HOST, 0, tcp=True)
    host.replied(HOST, 2, echo=True)
    host.replied(HOST, 1)
    assert (host.host, host.least) == ({HOST: 2}, {HOST: 0})
