from dataclasses import replace
from importlib.metadata import version

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from reachability.arrival import ArrivalRow, WitnessReport
from reachability.observation import KeptPacket, Observation, SourceReport
from reachability.ports import PortSet
from reachability.vocabulary import PacketRole, Protocol, Reason, State
from wire.codec import encode
from wire.columns import encode_batch
from wire.envelope import MOST_BYTES, MOST_MESSAGE_BYTES, BadMessage, pack_up, seal, unpack_up, unseal
from wire.messages import VERSION, Armed, Batch, Done, Resolved, Status

OBSERVATION = Observation(
    target=1,
    source_address="10.10.0.10",
    address="10.30.0.21",
    protocol=Protocol.TCP,
    state=State.FILTERED,
    reason=Reason.NO_RESPONSE,
    ports=PortSet.parse("1-79,81-65535"),
    sent=4,
)


def batch(count: int = 1) -> Batch:
    return Batch(
        spool="ab12",
        sequence=7,
        age_s=0.5,
        sources=(
            SourceReport(
                round="r",
                agent="dev-1",
                observations=tuple(replace(OBSERVATION, target=n) for n in range(count)),
                host_hops={"::1": 2},
            ),
        ),
        witnesses=(
            WitnessReport(
                round="r",
                agent="prod-1",
                arrivals=(
                    ArrivalRow(target=1, address="::1", protocol=Protocol.UDP, copies=2, ports=PortSet.parse("53")),
                ),
            ),
        ),
    )


def keeping(*data: bytes) -> Batch:
    kept = tuple(
        KeptPacket(target=1, what=PacketRole.SENT, at_ms=0.5, data=one, copy=n or None) for n, one in enumerate(data)
    )
    report = WitnessReport(round="r", agent="prod-1", armed_ms=41.5, listened_s=4.2, kept=kept)
    return Batch(spool="ab12", sequence=8, age_s=0.5, witnesses=(report,))


@given(st.lists(st.binary(max_size=128), max_size=20))
def test_bytes_travel_as_they_are(data: list[bytes]) -> None:
    assert unpack_up(pack_up(keeping(*data))) == keeping(*data)


def test_bytes_that_are_no_bytes_are_refused() -> None:
    row = {"target": [1], "what": ["sent"], "at_ms": [0.5], "data": ["no base64!"]}
    forged = {
        "type": "batch",
        "spool": "s",
        "sequence": 1,
        "age_s": 0.0,
        "witnesses": [{"round": "r", "agent": "a", "kept": row}],
    }
    with pytest.raises(BadMessage, match="base64"):
        unpack_up(seal(msgspec.msgpack.encode(forged)))


@pytest.mark.parametrize(
    "message",
    [
        batch(),
        batch(500),
        keeping(b"\x45\0\xff", b""),
        Status(name="dev-1", environment="dev", online=True, addresses=("10.0.0.1",), refused=("x",)),
        Armed(round="r", agent="prod-1", ok=False, problems=("no",)),
        Done(round="r", agent="dev-1", sequence=3, tail_s=2.0),
        Resolved(id="1", lookups=()),
    ],
)
def test_what_is_packed_is_read_again(message: Batch | Status | Armed | Done | Resolved) -> None:
    assert unpack_up(pack_up(message)) == message


def test_large_messages_are_compressed() -> None:
    assert pack_up(batch(500))[:2] == b"\x01\x01"
    assert len(pack_up(batch(500))) < 2000
    assert pack_up(Done(round="r", agent="a", sequence=1))[:2] == b"\x01\x00"


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "has no header"),
        (b"\x01", "has no header"),
        (b"\x02\x00\x80", "schema version 2, this segwatch speaks 1: upgrade the older"),
        (b"\x00\x00\x80", "schema version 0"),
        (b"\x01\x07\x80", "codec 7; 0 .none. and 1 .zstd. are known"),
        (b"\x01\x01not zstd", "cannot be decompressed"),
        (b"\x01\x00\xc1", "cannot be read"),
        (b"\x01\x00" + msgspec.msgpack.encode({"type": "else"}), "cannot be read: Invalid value 'else'"),
        (b"\x01\x00" + msgspec.msgpack.encode({"type": "status", "name": 3}), "cannot be read: Expected `str`"),
        (b"\x01\x00" + msgspec.msgpack.encode({"type": "status"}), "missing required field"),
        (b"\x01\x00" + b"\x91" * 100_000, "cannot be read"),
        (b"\x01\x00" + b"\0" * MOST_MESSAGE_BYTES, "larger than the"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(payload: bytes, words: str) -> None:
    with pytest.raises(BadMessage, match=words):
        unpack_up(payload)


@pytest.mark.parametrize("sized", [True, False], ids=["honest frame", "frame without its size"])
def test_a_bomb_ends_in_a_message(sized: bool) -> None:
    bomb = zstandard.ZstdCompressor(write_content_size=sized).compress(b"\0" * (MOST_BYTES + 1))
    assert len(bomb) < 5000
    with pytest.raises(BadMessage, match="decompresses to more than"):
        unseal(b"\x01\x01" + bomb)


def test_many_frames_in_a_row_are_bounded_too() -> None:
    frame = zstandard.ZstdCompressor().compress(b"\0" * (MOST_BYTES // 4))
    with pytest.raises(BadMessage):
        unpack_up(b"\x01\x01" + frame * 8)


def test_a_sender_is_told_what_is_too_large() -> None:
    with pytest.raises(ValueError, match="larger than"):
        seal(b"\0" * (MOST_BYTES + 1))


def test_unknown_fields_are_ignored_and_new_ones_have_defaults() -> None:
    old = {"type": "batch", "spool": "s", "sequence": 1, "age_s": 0.0, "of_a_later_version": [1]}
    assert unpack_up(seal(msgspec.msgpack.encode(old))) == Batch(spool="s", sequence=1, age_s=0.0)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"target": [1, 2], "copies": [1]}, "differ in length"),
        ({"target": [1]}, "missing required field"),
        ({"target": ["x"], "address": ["a"], "protocol": ["tcp"], "copies": [1]}, "Expected `int`, got `str`"),
        ({"target": [1], "address": ["::1"], "protocol": ["sctp"], "copies": [1]}, "Invalid enum value 'sctp'"),
        ({"target": [{}]}, "cannot be read"),
        ({"target": 1}, "cannot be read"),
    ],
)
def test_columns_that_make_no_rows_are_refused(columns: object, words: str) -> None:
    witness = {"round": "r", "agent": "a", "arrivals": columns}
    forged = {"type": "batch", "spool": "s", "sequence": 1, "age_s": 0.0, "witnesses": [witness]}
    with pytest.raises(BadMessage, match=words):
        unpack_up(seal(msgspec.msgpack.encode(forged)))


def test_a_column_of_a_later_version_is_ignored() -> None:
    row = {"target": [1], "address": ["::1"], "protocol": ["udp"], "copies": [2], "ports": ["53"], "later": ["x"]}
    witness = {"round": "r", "agent": "prod-1", "arrivals": row, "later": 1}
    forged = {"type": "batch", "spool": "s", "sequence": 1, "age_s": 0.0, "witnesses": [witness]}
    read = unpack_up(seal(msgspec.msgpack.encode(forged)))
    assert isinstance(read, Batch)
    assert read.witnesses == batch().witnesses


def test_columns_are_smaller_than_rows() -> None:
    rows = tuple(replace(OBSERVATION, target=n, address=f"10.30.{n // 250}.{n % 250}") for n in range(10_000))
    report = SourceReport(round="r", agent="dev-1", observations=rows)
    many = Batch(spool="s", sequence=1, age_s=0.0, sources=(report,))
    assert len(encode_batch(many)) < len(encode(many)) / 3
    assert unpack_up(pack_up(many)) == many


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_a_bad_message(payload: bytes) -> None:
    for candidate in (payload, b"\x01\x00" + payload, b"\x01\x01" + payload):
        try:
            unpack_up(candidate)
        except BadMessage:
            continue


def test_the_version_is_that_of_the_project() -> None:
    assert version("segwatch") == VERSION
