"""`segwatch agent join`: this host makes its key, and a one-time token gets it a certificate. The key never leaves.

The broker has to show a certificate of the token's CA before anything is said; the token's own secrets are never sent.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from nacl.signing import SigningKey

from reachability.texts import printable
from wire import joining
from wire.certificate_request import UNREADABLE, is_issued_by, new_key, pem, request_of
from wire.dial import Broker, dial
from wire.keyfiles import write_private
from wire.mqtt import Link, NotConnected
from wire.problem import in_words

KEY = "join.key"  # until the certificate is there: a join that was interrupted goes on with the same key
WITHIN_S, AGAIN_S = 30.0, 2.0


class JoinError(Exception):
    """The host was not enrolled; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What the host got, beside its own key: a certificate, the CAs to trust, the configuration, the broker's address.

    The configuration is YAML, keys and certificates are PEM.
    """

    certificate: bytes
    key: bytes
    ca: bytes
    configuration: bytes
    peer: str


def join(token: joining.Token, url: str, state_dir: Path, within_s: float = WITHIN_S) -> Joined:
    """Enrol this host at the broker of the URL; JoinError says why not. `state_dir` exists and is ours."""
    key = _key(state_dir / KEY)
    with tempfile.TemporaryDirectory(dir=state_dir, prefix=".join.") as directory:
        broker = _broker(token, url, Path(directory))
        try:
            dial(broker).close()
        except ssl.SSLCertVerificationError as error:
            raise JoinError(
                f"{broker}: its certificate is not of the CA that the token names ({error.verify_message}): nothing was"
                " sent. Is it the right coordinator, and is the token of its keys, made since its CA was rotated last?"
            ) from error
        except ssl.SSLError as error:
            raise JoinError(f"{in_words(error, broker, None)}. {_stale(token)}") from error
        except OSError as error:
            raise JoinError(
                f"{in_words(error, broker, None)}: it is not reachable from here. Give --coordinator HOST:PORT as this host"
                " reaches it, and let that TCP port through"
            ) from error
        answer, peer = asyncio.run(_ask(token, url, broker, key, within_s))
    if answer.problem:
        raise JoinError(f"the coordinator says: {printable(answer.problem)}")
    ca = answer.trust or token.ca
    _check(ca, answer.certificate, key)
    return Joined(answer.certificate, pem(key), ca, answer.configuration, peer)


async def _ask(
    token: joining.Token, url: str, broker: Broker, key: ec.EllipticCurvePrivateKey, within_s: float
) -> tuple[joining.Answer, str]:
    nonce = secrets.token_bytes(joining.NONCE)
    ask = joining.Ask(
        token=token.id,
        agent=token.agent,
        nonce=nonce,
        request=request_of(key, token.environment, token.agent),
        broker=url,
    )
    payload = joining.sign_ask(SigningKey(token.seed), ask)
    link = Link(broker, subscriptions=(f"{joining.ANSWERS}/{nonce.hex()}",), name="segwatch-join")
    try:
        async with asyncio.timeout(within_s), link, asyncio.TaskGroup() as group:
            asking = group.create_task(_repeat(link, payload), name="ask to join")
            try:
                async for message in link.messages():
                    message.done()
                    try:
                        answer = joining.read_answer(message.payload, token.coordinator, nonce)
                    except joining.BadJoin:  # a broker that makes up answers
                        continue
                    assert link.peer is not None
                    return answer, str(link.peer[0])
            finally:
                asking.cancel()
    except TimeoutError:
        why = f"{link.problem}. {_stale(token)}" if link.problem else f"{broker}: no coordinator answers there"
        raise JoinError(why) from None
    raise AssertionError("messages never end")


async def _repeat(link: Link, payload: bytes) -> None:
    while True:
        await link.wait_connected()
        try:
            await link.publish(joining.ASK, payload)
        except NotConnected:
            continue
        await asyncio.sleep(AGAIN_S)


def _stale(token: joining.Token) -> str:
    return (
        "The token may have expired, been used or been replaced. Make another on the coordinator's host: segwatch pki"
        f" join-token {token.agent} …"
    )


def _broker(token: joining.Token, url: str, directory: Path) -> Broker:
    files = {"ca": token.ca, "certificate": token.certificate, "key": token.key}
    for name, data in files.items():
        write_private(directory / name, data)
    return Broker.parse(url, **{name: directory / name for name in files}, server_name=token.server_name)


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        held = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if isinstance(held, ec.EllipticCurvePrivateKey):
            return held
    except (FileNotFoundError, ValueError):
        pass
    key = new_key()
    write_private(path, pem(key))
    return key


def _check(given: bytes, granted: bytes, key: ec.EllipticCurvePrivateKey) -> None:
    """JoinError unless the certificate is for our key, of a CA that was given (PEM)."""
    try:
        certificate = x509.load_pem_x509_certificate(granted)
        trusted = x509.load_pem_x509_certificates(given)
        if not any(is_issued_by(ca, certificate) for ca in trusted):
            raise ValueError("no CA issued it")
        own = certificate.public_key() == key.public_key()
    except UNREADABLE as error:
        raise JoinError("what the coordinator sent is not a certificate of the CA that it names") from error
    if not own:
        raise JoinError("the certificate that the coordinator sent is for another key")
