import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from reachability.vocabulary import RoundKind
from wire.envelope import BadMessage
from wire.messages import Ack, Arm, Close, Go, Plan, Resolve, Stop
from wire.signing import (
    AnyDown,
    Refused,
    channel_of,
    is_signed_up,
    next_sequence,
    open_down,
    pack_down,
    read_verify_key,
    sign_up,
    split,
)
from wire.topics import DownChannel

KEY = SigningKey(b"\1" * 32)
NOW = 1_800_000_000.0
BODY = Close(round="r1")
SIGNED = pack_down(KEY, "dev-1", 5, BODY, NOW)


def opened(payload: bytes, *, agent: str = "dev-1") -> AnyDown:
    return open_down(KEY.verify_key, payload, agent=agent).body


@pytest.mark.parametrize(
    ("body", "channel"),
    [
        (Plan(digest="d"), DownChannel.PLAN),
        (Resolve(id="1", names=("a",) * 300), DownChannel.ROUND),
        (Arm(round="r", key=b"k" * 16, kind=RoundKind.NORMAL, source="dev-1"), DownChannel.ROUND),
        (Go(round="r", key=b"k" * 16, kind=RoundKind.NORMAL, targets=()), DownChannel.ROUND),
        (BODY, DownChannel.ROUND),
        (Stop(), DownChannel.ROUND),
        (Ack(spool="s", sequence=4), DownChannel.ACK),
    ],
)
def test_what_is_signed_is_read(body: AnyDown, channel: DownChannel) -> None:
    order = open_down(KEY.verify_key, pack_down(KEY, "dev-1", 9, body, NOW, echo=b"asked"), agent="dev-1")
    assert (order.body, order.sequence, order.agent, order.echo) == (body, 9, "dev-1", b"asked")
    assert (order.issued, order.expires) == (NOW, NOW + 60)
    assert channel_of(body) is channel


@given(st.integers(min_value=0, max_value=len(SIGNED) - 1), st.integers(min_value=1, max_value=255))
def test_no_altered_byte_passes(place: int, change: int) -> None:
    altered = bytearray(SIGNED)
    altered[place] ^= change
    with pytest.raises(BadMessage):
        opened(bytes(altered))


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "not signed"),
        (SIGNED[:40], "not signed"),
        (SIGNED[:2] + SIGNED[66:] + b"\0" * 64, "unsigned, altered or signed by a key other"),
        (SIGNED + b"\0", "unsigned, altered"),
        (pack_down(SigningKey(b"\2" * 32), "dev-1", 5, BODY, NOW), "signed by a key other"),
        (b"\x02" + SIGNED[1:], "schema version 2"),
    ],
)
def test_unsigned_and_altered(payload: bytes, words: str) -> None:
    with pytest.raises(BadMessage, match=words):
        opened(payload)


def test_for_another_agent() -> None:
    with pytest.raises(Refused, match="for agent 'dev-1' came to 'prod-1'"):
        opened(SIGNED, agent="prod-1")


def test_what_went_up_does_not_come_down_nor_the_other_way() -> None:
    sealed, signature = split(SIGNED)
    assert not is_signed_up(KEY.verify_key, sealed, signature)
    up = sign_up(KEY, sealed)
    assert is_signed_up(KEY.verify_key, *split(up))
    assert not is_signed_up(SigningKey(b"\2" * 32).verify_key, *split(up))
    with pytest.raises(Refused, match="unsigned, altered"):
        opened(up)


def test_a_lost_store_goes_on_above_what_it_sent() -> None:
    assert next_sequence(0, NOW) == int(NOW * 1000)
    assert next_sequence(int(NOW * 1000), NOW) == int(NOW * 1000) + 1
    assert next_sequence(int(NOW * 1000) + 50, NOW - 3600) == int(NOW * 1000) + 51, "a clock set back does no harm"


def test_the_public_key_is_hex() -> None:
    assert read_verify_key(KEY.verify_key.encode().hex() + "\n") == KEY.verify_key
    for text in ("", "zz", "ab" * 31):
        with pytest.raises(ValueError, match="not an Ed25519 public key"):
            read_verify_key(text)
