"""Requests to join, as a host with a token makes them."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec
from nacl.signing import SigningKey

from tests.support.certificate_requests import CN, OU, request_of
from wire import joining

NONCE = bytes(range(joining.NONCE))


def ask(
    token: joining.Token,
    key: ec.EllipticCurvePrivateKey,
    *,
    name: str = "dev-1",
    agent: str = "dev-1",
    seed: bytes = b"",
    broker: str = "mqtts://192.0.2.1:8883",
) -> bytes:
    """`name` is the one in the certificate's request, `agent` that of the request to join."""
    request = request_of(key, (CN, name), (OU, "dev"))
    made = joining.Ask(token=token.id, agent=agent, nonce=NONCE, request=request, broker=broker)
    return joining.sign_ask(SigningKey(seed or token.seed), made)
