"""Port sets and overlays lose and invent no port."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachability.overlay import overlay
from reachability.ports import ALL_PORTS, PortSet

PORTS = st.integers(1, 65535)
RANGES = st.tuples(PORTS, st.integers(0, 300)).map(lambda r: (r[0], min(65535, r[0] + r[1])))
SETS = st.lists(RANGES, max_size=8).map(PortSet.from_ranges)


def members(ports: PortSet) -> set[int]:
    return {port for low, high in ports.ranges for port in range(low, high + 1)}


@given(SETS, SETS)
def test_algebra_is_that_of_sets(a: PortSet, b: PortSet) -> None:
    assert members(a | b) == members(a) | members(b)
    assert members(a & b) == members(a) & members(b)
    assert members(a - b) == members(a) - members(b)
    assert len(a) == len(members(a))


@given(SETS)
def test_ranges_are_maximal_and_the_text_reads_back(a: PortSet) -> None:
    assert all(before[1] + 1 < after[0] for before, after in zip(a.ranges, a.ranges[1:], strict=False))
    assert PortSet.parse(str(a)) == a
    assert PortSet.of(list(a)) == a
    assert a.complement() | a == ALL_PORTS


@pytest.mark.parametrize("text", ["0", "65536", "9-1", "-1", "a", "1-", "²", "1--2", "1 2", "99999999999"])
def test_what_is_not_a_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="port"):
        PortSet.parse(text)


LAYERS = st.lists(st.lists(st.tuples(SETS, st.integers(0, 3)), max_size=4), min_size=1, max_size=3)


@given(SETS, LAYERS)
def test_overlay_says_of_each_port_what_each_layer_says_last(
    whole: PortSet, layers: list[list[tuple[PortSet, int]]]
) -> None:
    pieces = overlay(whole, *layers)
    assert sorted(port for ports, _ in pieces for port in ports) == sorted(members(whole))
    for ports, values in pieces:
        for port in (ports.ranges[0][0], ports.ranges[-1][1]):
            said = tuple(next((v for p, v in reversed(layer) if port in p), None) for layer in layers)
            assert values == said
