"""What the filter of a support bundle takes out, and what it leaves."""

from __future__ import annotations

import json
import time

import pytest

from cli.support.keys import forms_of
from cli.support.redact import KEY_REACH, REMOVED, Filter

BODY = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgU2VjcmV0U2VjcmV0\nU2VjcmV0U2VjcmV0U2VjcmV0U2VjcmV0aFRANCAAQ=\n"
PEM = f"-----BEGIN PRIVATE KEY-----\n{BODY}-----END PRIVATE KEY-----"


@pytest.fixture
def plain() -> Filter:
    return Filter(())


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("GET /x?token=abc123&y=1", f"GET /x?token={REMOVED}&y=1"),
        ("SEGWATCH_TOKEN=abc123 segwatch verify", f"SEGWATCH_TOKEN={REMOVED} segwatch verify"),
        ('{"access_token": "abc123", "x": 1}', f'{{"access_token": "{REMOVED}", "x": 1}}'),
        (r'"body": "{\"token\": \"abc123\"}"', rf'"body": "{{\"token\": \"{REMOVED}\"}}"'),
        ("Authorization: Bearer abc.def-ghi", f"Authorization: Bearer {REMOVED}"),
        ("proxy-authorization=Basic dXNlcjpwdw==", f"proxy-authorization=Basic {REMOVED}"),
        ("curl -H 'Authorization: abc123' x", f"curl -H 'Authorization: {REMOVED}' x"),
        ("it said: bearer abcdefgh12", f"it said: bearer {REMOVED}"),
        ("password: hunter2, user: me", f"password: {REMOVED}, user: me"),
        ("mqtts://me:pw@10.0.0.1:8883/x", f"mqtts://{REMOVED}@10.0.0.1:8883/x"),
        ("https://me:p@w@host", f"https://{REMOVED}@host"),
        ("segwatch try try1.eyJrIjoi-_x", f"segwatch try try1.{REMOVED}"),
        (f"a\n{PEM}\nb", f"a\n{REMOVED}\nb"),
        (PEM.replace("PRIVATE", "EC PRIVATE"), REMOVED),
        (json.dumps({"x": PEM}), f'{{"x": "{REMOVED}"}}'),
        ("\n".join(f"12:00 agent | {line}" for line in PEM.splitlines()), f"12:00 agent | {REMOVED}"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(plain: Filter, text: str, left: str) -> None:
    assert plain.text(text) == left
    assert plain.removed == 1
    assert plain.text(left) == left, "twice is as once"


@pytest.mark.parametrize(
    "text",
    [
        "seq 5f2a11c9 = token, copy 1",
        "tokens: {hosts: [10.0.0.1]}",
        "  token: {hosts: [10.30.0.21], ports: [tcp/443]}",
        "digest: 9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e",
        "https://10.0.0.1:8600/api/v1/status, mail me@example.org",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "owner: the-secret-team; the password policy is elsewhere",
    ],
)
def test_what_only_sounds_like_one_is_left(plain: Filter, text: str) -> None:
    assert plain.text(text) == text
    assert plain.removed == 0


@pytest.mark.parametrize(
    "text",
    [
        PEM[: PEM.index("-----END")],
        PEM[PEM.index("\n") :],
        PEM[40:],
        f"{PEM[:100]}\nand then\n{PEM[100:]}",
        "-----BEGIN PRIVATE KEY-----\n" + f"{BODY}{'x ' * KEY_REACH}{BODY}-----END PRIVATE KEY-----",
        f"{PEM[:-30]}\n{PEM}",
    ],
)
def test_of_a_key_that_is_cut_off_nothing_is_left(plain: Filter, text: str) -> None:
    left = plain.text(f"before\n{text}\nafter")
    assert "U2VjcmV0" not in left
    assert "PRIVATE" not in left
    assert left.startswith("before") or "before" not in text


def test_a_secret_that_is_known_is_found_in_every_form() -> None:
    raw = bytes(range(100, 132))
    known = Filter(forms_of(raw))
    for text in (raw, raw.hex().encode(), raw.hex().upper().encode(), repr(raw).encode()):
        assert known.raw(b"<" + text + b">").replace("b'", "").replace("'", "") == f"<{REMOVED}>"
    from base64 import b64encode, urlsafe_b64encode

    for before in (b"", b"a", b"ab", b"abc"):
        for encode in (b64encode, urlsafe_b64encode):
            assert REMOVED in known.raw(encode(before + raw + b"xyz"))


def test_json_stays_json_whatever_is_taken_out() -> None:
    token = "abc-DEF_123456789"
    known = Filter(forms_of(token.encode()))
    body = {
        "note": f'he said token="{token}", then Authorization: Bearer {token}\\',
        "token": "x",
        token: [PEM, {"pem": PEM[:90], "n": 1.5, "none": None, "yes": True}],
        "lone": "\ud800 password=\\",
    }
    text = known.body(body)
    made = json.loads(text)
    assert token not in text
    assert "U2VjcmV0" not in text
    assert made["token"] == REMOVED
    assert made[REMOVED][1]["n"] == 1.5
    assert json.loads(Filter(()).body({"a": ["b", 1]})) == {"a": ["b", 1]}


@pytest.mark.parametrize(
    "text", ["-----BEGIN PRIVATE KEY-----" * 40_000, "a" * 1_000_000, "://" * 300_000, "token" * 200_000, "A" * 500_000]
)
def test_it_takes_time_in_step_with_the_text(plain: Filter, text: str) -> None:
    began = time.process_time()
    plain.text(text + "-----END PRIVATE KEY-----")
    assert time.process_time() - began < 20, "it takes a second; what is quadratic takes hours"
