"""Tokens, requests and answers: only whole ones, only signed ones."""

import base64

import msgspec
import pytest
from nacl.signing import SigningKey

from wire import joining

KEY = SigningKey(bytes(range(32)))
TOKEN = joining.Token(
    id="a1",
    agent="dev-1",
    environment="dev",
    ca=b"ca",
    certificate=b"certificate",
    key=b"key",
    seed=bytes(KEY),
    coordinator=bytes(KEY.verify_key),
    server_name="broker.segwatch.internal",
)
NONCE = bytes(joining.NONCE)
DEEP = b"\x81\xa1x" + b"\x91" * 1200 + b"\x90"  # a field that nobody knows, and lists in lists in it


def test_a_token_is_one_line_that_may_have_a_newline() -> None:
    line = joining.write_token(TOKEN)
    assert "\n" not in line
    assert joining.read_token(f" {line}\n") == TOKEN


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a token of segwatch pki join-token"),
        ("-----BEGIN", "is not a token"),
        (joining.write_token(TOKEN)[:-9], "is not whole"),
        ("segwatch-join-1.%%%", "is not whole"),
        ("segwatch-join-1." + "A" * joining.MOST_TOKEN, "is not a token"),
        (joining.write_token(TOKEN).replace("segwatch-join-1.", "segwatch-join-1.é"), "is not whole"),
        *(
            (joining.write_token(msgspec.structs.replace(TOKEN, **changed)), "is not whole")
            for changed in (
                {"seed": b"short"},
                {"coordinator": b""},
                {"server_name": ".x"},
                {"server_name": "a\0b"},
                {"server_name": "a" * 64},
            )
        ),
        ("segwatch-join-1." + base64.urlsafe_b64encode(DEEP).decode(), "is not whole"),
    ],
)
def test_what_is_not_a_token(text: str, words: str) -> None:
    with pytest.raises(joining.BadJoin, match=words):
        joining.read_token(text)


def test_a_token_for_a_name_that_leads_elsewhere() -> None:

    with pytest.raises(joining.BadJoin, match="names no agent"):
        joining.read_token(joining.write_token(msgspec.structs.replace(TOKEN, agent="../x")))


def test_an_answer_is_the_coordinators_and_to_this_request() -> None:
    payload = joining.sign_answer(KEY, joining.Answer(nonce=NONCE, problem="no"))
    assert joining.read_answer(payload, TOKEN.coordinator, NONCE).problem == "no"
    with pytest.raises(joining.BadJoin, match="another request"):
        joining.read_answer(payload, TOKEN.coordinator, b"x" * joining.NONCE)
    for forged in (payload[:-1] + b"x", bytes(64) + payload[64:], b"", payload[:70]):
        with pytest.raises(joining.BadJoin, match="signature"):
            joining.read_answer(forged, TOKEN.coordinator, NONCE)


def test_a_request_means_nothing_as_an_answer() -> None:
    payload = joining.sign_ask(KEY, joining.Ask(token="a1", agent="dev-1", nonce=NONCE, request=b"", broker=""))
    with pytest.raises(joining.BadJoin, match="signature"):
        joining.read_answer(payload, TOKEN.coordinator, NONCE)


@pytest.mark.parametrize("payload", [b"", bytes(64), bytes(80), bytes(joining.MOST_BODY + 1), bytes(64) + DEEP])
def test_what_is_not_a_request(payload: bytes) -> None:
    with pytest.raises(joining.BadJoin):
        joining.read_ask(payload)
