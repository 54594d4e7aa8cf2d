"""The columns of many packets: what is read of each, and what is left alone."""

from __future__ import annotations

import pytest

from probes.packets.columns import split
from probes.packets.parse import ACK, RST, SYN
from probes.packets.token import token
from reachability.vocabulary import Protocol
from tests.support.sweep_frames import ENDS, FAMILIES, KEY, PROTOCOLS, answers, batch, columns_of, copies


@FAMILIES
@PROTOCOLS
def test_columns_read_what_the_template_wrote(family: int, protocol: Protocol) -> None:
    columns = columns_of(family, copies(family, protocol, [22, 80], 0))
    assert (columns.family, columns.sport.tolist(), columns.dport.tolist()) == (family, [40000] * 2, [22, 80])
    assert [columns.text(a) for a in (*columns.source, *columns.destination)] == [
        ENDS[family][0], ENDS[family][0], ENDS[family][1], ENDS[family][1],
    ]  # fmt: skip
    assert columns.opens.all()
    assert columns.to_host.all()
    assert not columns.outgoing.any()
    assert columns.carries(token(KEY, ENDS[family][1], protocol, 22, 0))
    assert not columns.carries(token(KEY, ENDS[family][1], protocol, 80, 0))


@pytest.mark.parametrize("harm", ["options", "fragment", "short", "later-fragment"])
def test_what_is_not_plain_is_left_alone(harm: str) -> None:
    [frame] = copies(4, Protocol.TCP, [22], 0)
    broken = bytearray(frame)
    if harm == "options":
        broken[0] = 0x46
    elif harm == "fragment":
        broken[6] = 0x20
    elif harm == "later-fragment":
        broken[7] = 1
    else:
        broken = broken[:30]
    assert split(batch(4, [bytes(broken)])) == []


def test_flags_tell_what_opens() -> None:
    frames = answers(4, Protocol.TCP, [22, 23, 24], 0)
    at = 20 + 13
    for frame, flags in zip(range(3), (SYN, SYN | ACK, RST), strict=True):
        changed = bytearray(frames[frame])
        changed[at] = flags
        frames[frame] = bytes(changed)
    assert columns_of(4, frames).opens.tolist() == [True, False, False]
