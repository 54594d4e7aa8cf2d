"""Port sets and overlays lose and invent no port: both are held against Python's own sets, port by port."""

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachability.overlay import overlay
from reachability.ports import ALL_PORTS, ICMP_CELL, PortSet, text_of

WHOLE = frozenset(range(1, 65536))
PORTS = st.integers(1, 65535)
RANGES = st.tuples(PORTS, st.integers(0, 300)).map(lambda r: (r[0], min(65535, r[0] + r[1])))
# Combs such as every third port from 10 on: as many ranges as there can be.
COMBS = st.tuples(PORTS, st.integers(1, 65535), st.integers(2, 9)).map(
    lambda c: range(c[0], min(c[0] + c[1], 65536), c[2])
)
MEMBERS = st.one_of(
    st.frozensets(PORTS, max_size=8),
    st.lists(RANGES, max_size=8).map(lambda spans: frozenset(p for low, high in spans for p in range(low, high + 1))),
    st.lists(COMBS, max_size=2).map(lambda combs: frozenset(port for comb in combs for port in comb)),
    st.sampled_from([frozenset({1}), frozenset({65535}), WHOLE]),
)


@given(MEMBERS, MEMBERS)
def test_algebra_is_that_of_sets(a: frozenset[int], b: frozenset[int]) -> None:
    mine, theirs = PortSet.of(a), PortSet.of(b)
    assert set(mine | theirs) == a | b
    assert set(mine & theirs) == a & b
    assert set(mine - theirs) == a - b
    assert set(ALL_PORTS - mine) == WHOLE - a
    assert PortSet.union([mine, theirs, mine]) == mine | theirs
    assert (mine == theirs) is (a == b)
    for made, model in ((mine | theirs, a | b), (mine & theirs, a & b), (mine - theirs, a - b)):
        assert (len(made), bool(made), made.first) == (len(model), bool(model), min(model, default=-1))


@given(MEMBERS, st.randoms(use_true_random=False))
def test_however_a_set_was_made_it_is_the_same(a: frozenset[int], draw: random.Random) -> None:
    made, shuffled = PortSet.of(a), [*a, *list(a)[:3]]
    draw.shuffle(shuffled)
    cut = draw.randint(0, 65535)
    halves = PortSet.of(p for p in a if p <= cut), PortSet.of(p for p in a if p > cut)
    others = (
        PortSet.of(shuffled),
        PortSet.from_ranges([*made.ranges, *made.ranges[:2]]),
        PortSet.parse(str(made)),
        halves[0] | halves[1],
        ALL_PORTS - (ALL_PORTS - made),
    )
    for other in others:
        assert other == made
        assert (hash(other), str(other), repr(other)) == (hash(made), str(made), repr(made))
    assert made != a


@given(MEMBERS)
def test_ranges_are_maximal_and_the_text_reads_back(a: frozenset[int]) -> None:
    made = PortSet.of(a)
    assert list(made) == sorted(a)
    assert [port for low, high in made.ranges for port in range(low, high + 1)] == sorted(a)
    assert all(before[1] + 1 < after[0] for before, after in zip(made.ranges, made.ranges[1:], strict=False))
    assert PortSet.parse(str(made)) == made
    assert str(made) == ",".join(str(low) if low == high else f"{low}-{high}" for low, high in made.ranges)


@given(MEMBERS, st.integers(-2, 65540))
def test_a_port_is_in_it_or_not(a: frozenset[int], port: int) -> None:
    assert (port in PortSet.of(a)) is (port in a)


def test_sets_of_one_port_have_hashes_of_their_own() -> None:
    ports = range(1, 65536, 61)
    assert len({hash(PortSet.of([port])) for port in ports}) == len(ports)


@pytest.mark.parametrize(
    "text", ["0", "65536", "9-1", "-1", "a", "1-", "²", "1--2", "1 2", "99999999999", "1,x", "1\n", "1,,+2", "1_0"]
)
def test_what_is_not_a_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="port"):
        PortSet.parse(text)


def test_the_part_that_is_wrong_is_named() -> None:
    with pytest.raises(ValueError, match="'80x' is not a port"):
        PortSet.parse("22,80x,443")
    assert str(PortSet.parse(",22,,21,")) == "21-22"


LAYERS = st.lists(st.lists(st.tuples(MEMBERS, st.sampled_from([0, 1, 2, None])), max_size=4), min_size=1, max_size=3)


@given(MEMBERS, LAYERS)
def test_overlay_says_of_each_port_what_each_layer_says_last(
    whole: frozenset[int], layers: list[list[tuple[frozenset[int], int | None]]]
) -> None:
    said: dict[int, list[int | None]] = {port: [None] * len(layers) for port in whole}
    for number, layer in enumerate(layers):
        for ports, value in layer:
            for port in ports & whole:
                said[port][number] = value
    pieces = overlay(PortSet.of(whole), *([(PortSet.of(ports), value) for ports, value in layer] for layer in layers))
    assert {port: list(values) for ports, values in pieces for port in ports} == said
    assert sum(len(ports) for ports, _ in pieces) == len(whole)
    assert len({values for _, values in pieces}) == len(pieces), "the pieces are as large as can be"
    assert [ports.first for ports, _ in pieces] == sorted(ports.first for ports, _ in pieces)


@given(MEMBERS)
def test_a_row_of_a_report_has_the_same_set_however_it_is_held(a: frozenset[int]) -> None:
    made = PortSet.of(a)
    for held in (made.compact(), PortSet.of_row(str(made))):
        assert held == made
        assert (hash(held), str(held), len(held), bool(held), held.first) == (
            hash(made), str(made), len(made), bool(made), made.first,
        )  # fmt: skip
        assert (held | made, held & made, made - held) == (made, made, PortSet())


def test_rows_with_high_ports_take_little_memory() -> None:
    texts = [f"{port},65535" for port in range(60_000, 62_000)]
    tracemalloc.start()
    held = [PortSet.of_row(text) for text in texts]
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(held) == len(texts)
    assert taken < len(texts) * 1000, "in bits they are 8 kB each"


def test_the_one_cell_of_icmp_is_no_port_that_anybody_writes() -> None:
    assert (len(ICMP_CELL), list(ICMP_CELL), ICMP_CELL.compact()) == (1, [0], ICMP_CELL)
    assert PortSet.of([0]) == ICMP_CELL
    assert not ICMP_CELL & ALL_PORTS
    assert (text_of(ICMP_CELL), text_of(PortSet.parse("22")), text_of(PortSet())) == (None, "22", "")
    for text in ("0", "0-0", "0,22"):
        with pytest.raises(ValueError, match="not within 1-65535"):
            PortSet.parse(text)
