"""What is known of a swept endpoint's ports, for many at once."""

from __future__ import annotations

import numpy as np

from probes.packets.route import Route
from probes.source.cell import CLOSED, OPEN, REFUSED, SILENT
from probes.sweep.target import Block
from reachability.vocabulary import Protocol, Reason, State
from tests.support.sweep_frames import ENDS, KEY, target


def route(family: int) -> Route:
    return Route("eth0", ENDS[family][0].rpartition(".")[0] + ".1", ENDS[family][0], b"\2" * 6)


def block(family: int = 4, protocol: Protocol = Protocol.TCP) -> Block:
    return Block(target(family, protocol), (route(family),), KEY)


class TestBlock:
    def test_an_open_port_stays_open_and_the_furthest_reset_counts(self) -> None:
        one, place = block(), np.array([5], np.int32)
        one.refuse(5, 0, Reason.ADMIN_PROHIBITED, "10.10.0.1", 0)
        assert one.level[5] == REFUSED
        one.took(place, State.CLOSED, Reason.RESET, np.array([1], np.int16))
        one.took(place, State.CLOSED, Reason.RESET, np.array([0], np.int16))
        assert (one.level[5], one.hops[5]) == (CLOSED, 1)
        one.took(place, State.OPEN, Reason.SYN_ACK, np.array([2], np.int16))
        one.took(place, State.CLOSED, Reason.RESET, np.array([9], np.int16))
        one.refuse(5, 3, Reason.HOST_UNREACH, "10.10.0.1", 0)
        assert (one.level[5], one.hops[5]) == (OPEN, 2)

    def test_a_reset_of_the_path_wants_further_copies_up_to_three(self) -> None:
        one, place = block(), np.array([5], np.int32)
        assert one.wants(None).all()
        one.took(place, State.CLOSED, Reason.RESET, np.array([0], np.int16))
        assert one.wants(1)[5]
        assert not one.wants(0)[5]
        for copy in range(3):
            one.sends(place, copy, 0.1)
        assert not one.wants(1)[5]

    def test_what_looks_alike_is_one_run(self) -> None:
        one = block()
        everything = np.arange(len(one), dtype=np.int32)
        for copy in range(3):
            one.sends(everything, copy, 0.0)
            one.saw_leave(everything, copy, np.full(len(one), float(copy)))
        one.took(np.array([79], np.int32), State.OPEN, Reason.SYN_ACK, np.array([1], np.int16))
        runs = {str(o.ports): o for o in one.observations(lambda when: when < 2)}
        assert set(runs) == {"80", "1-79,81-300,1000,65000-65535"}
        silent = runs["1-79,81-300,1000,65000-65535"]
        assert (silent.state, silent.sent, silent.flows, silent.covered) == (State.FILTERED, 3, 3, 2)
        assert (runs["80"].state, runs["80"].hops) == (State.OPEN, 1)

    def test_a_packet_is_built_once_more_as_it_was_sent(self) -> None:
        one, places = block(), np.array([5, 79], np.int32)
        frames = one.frames(places, 2, 40000)
        one.sends(places, 2, 0.4)
        one.saw_leave(places[:1], 2, np.array([0.5]))
        assert one.frame(int(one.numbers[5]), 2, 40000) == frames[0].tobytes()
        assert (one.copies_left(5), one.copies_left(79)) == ([2], [])

    def test_a_refusal_by_the_endpoint_itself_says_more(self) -> None:
        one = block(protocol=Protocol.UDP)
        one.refuse(0, 0, Reason.ADMIN_PROHIBITED, "10.10.0.1", 0)
        one.refuse(0, 1, Reason.ADMIN_PROHIBITED, ENDS[4][1], 1)
        one.refuse(1, 0, Reason.PORT_UNREACH, ENDS[4][1], 1)
        assert one.refusers[one.by[0]] == ENDS[4][1]
        assert (one.level[0], one.level[1], one.level[2]) == (REFUSED, CLOSED, SILENT)

    def test_what_each_copy_was_refused_by_is_counted(self) -> None:
        one, places = block(), np.array([3, 4], np.int32)
        router, host = "10.10.0.1", ENDS[4][1]
        for copy in range(10):  # more copies than a byte has bits
            one.sends(places, copy, 0.0)
            one.saw_leave(places, copy, np.zeros(2))
            one.refuse(3, copy, Reason.ADMIN_PROHIBITED, router, 0)
        for copy, (reason, by) in enumerate(
            [(Reason.PORT_UNREACH, host), (Reason.HOST_UNREACH, router), (Reason.PORT_UNREACH, router)]
        ):
            one.refuse(4, copy, reason, by, 0)
        one.refuse(4, 12, Reason.PORT_UNREACH, host, 1)  # of a copy that nobody saw leave
        said = {str(o.ports): (o.sent, o.refused, o.prohibited, o.prohibited_at_host) for o in one.observations(
            lambda when: when < 2
        )}  # fmt: skip
        assert said["4"] == (10, 10, 10, 0)
        assert said["5"] == (10, 3, 1, 1)

    def test_what_left_behind_a_control_does_not_seem_to_have_left_before_it(self) -> None:
        one, place, at = block(), np.array([5], np.int32), 123.4567891
        one.sends(place, 0, 0.0)
        one.saw_leave(place, 0, np.array([at]))
        assert at <= float(one.when[0][5]) < at + 1e-4
