"""One-time tokens: made by `pki join-token`, redeemed by the coordinator for a certificate of a key that it never sees.

Of each agent the newest token alone is known, in a file beside the keys: by the public half of the key that signs with it,
so that nobody who reads the file can use it. The file takes in certificate and use in one write.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from nacl.encoding import HexEncoder
from nacl.signing import SigningKey

from coordinator.broker import enrolment, pki
from coordinator.broker.addresses import Whereabouts
from wire import joining
from wire.certificate_request import UNREADABLE
from wire.certificates import agent_uri
from wire.keyfiles import write_private
from wire.topics import NAME

DIRECTORY = "joins"
LINGER_S = 60.0  # an answer that was lost can be had again, with the same key


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a token; times are seconds since the epoch. `used_by` is the SHA-256 of a public key."""

    id: str
    environment: str
    key: str
    expires: float
    generation: int
    used_by: str = ""
    used_at: float = 0.0
    issued_generation: int = 0
    certificate: str = ""


def make(directory: Path, environment: str, agent: str, now: dt.datetime, life: dt.timedelta) -> str:
    """A token for one enrolment of this agent; one that was made before for it, and not used, is void."""
    pki.check(directory)
    issued = pki._issue(directory, now, life, [(NameOID.COMMON_NAME, "join")], uri=joining.URI)  # noqa: SLF001
    signing, name = SigningKey.generate(), secrets.token_hex(8)
    expires = now.timestamp() + life.total_seconds()
    with enrolment.alone(directory):
        (directory / DIRECTORY).mkdir(mode=0o700, exist_ok=True)
        _keep(
            directory,
            agent,
            Record(
                id=name,
                environment=environment,
                key=signing.verify_key.encode(HexEncoder).decode(),
                expires=expires,
                generation=pki.revocations(directory).get(agent, 0),
            ),
        )
    return joining.write_token(
        joining.Token(
            id=name,
            agent=agent,
            environment=environment,
            ca=issued.trust,
            certificate=issued.certificate,
            key=issued.key,
            seed=signing.encode(),
            coordinator=bytes.fromhex((directory / "coordinator.pub").read_text()),
            server_name=pki.BROKER_NAME,
            broker=Whereabouts.of(directory).broker,
            expires=expires,
        )
    )


def redeem(
    directory: Path, payload: bytes, agents: Mapping[str, str], now: dt.datetime, life: dt.timedelta = pki.AGENT_LIFE
) -> bytes:
    """The certificate (PEM) that a signed request gets; RequestRefused says why it gets none.

    `agents` are those of the topology, with their environments. The same key gets the same certificate again. A former
    enrolment of the name is ended.
    """
    ask = joining.read_ask(payload)
    record = _record(directory, ask.agent)
    if record is None or record.id != ask.token:
        raise pki.RequestRefused(
            "the token is not known here: a newer one was made for its agent, or it is of other keys"
        )
    try:
        joining.check_ask(payload, bytes.fromhex(record.key))
    except joining.BadJoin as error:
        raise pki.RequestRefused(f"the request is not signed with the token: {error}") from error
    if agents.get(ask.agent) != record.environment:
        raise pki.RequestRefused(f"the topology has no agent '{ask.agent}' in '{record.environment}' any more")
    with enrolment.alone(directory):
        record = _record(directory, ask.agent) or record
        asker = _asker(ask.request)
        if not record.used_by:
            record = _use(directory, ask, record, asker, now, life)
        elif record.used_by != asker:
            used = dt.datetime.fromtimestamp(record.used_at, dt.UTC)
            raise pki.RequestRefused(
                f"the token was used at {used:%Y-%m-%d %H:%M:%S} UTC, for another key. If that was not you, end what came"
                f" of it: segwatch pki revoke {ask.agent} …"
            )
        enrolment.stands(
            directory, ask.agent, record.issued_generation, dt.datetime.fromtimestamp(record.used_at, dt.UTC)
        )
    return record.certificate.encode()


def waits(directory: Path, now: float) -> bool:
    """Whether a token may still be redeemed, or an answer be asked for again."""
    try:
        names = [path.stem for path in (directory / DIRECTORY).glob("*.json")]
        records = [record for name in names if (record := _record(directory, name))]
    except OSError:
        return False
    return any(now < (each.used_at + LINGER_S if each.used_by else each.expires) for each in records)


def _use(directory: Path, ask: joining.Ask, record: Record, asker: str, now: dt.datetime, life: dt.timedelta) -> Record:
    if now.timestamp() >= record.expires:
        ended = dt.datetime.fromtimestamp(record.expires, dt.UTC)
        raise pki.RequestRefused(f"the token expired at {ended:%Y-%m-%d %H:%M:%S} UTC. {_another(ask.agent)}")
    if pki.revocations(directory).get(ask.agent, 0) != record.generation:
        raise pki.RequestRefused(
            f"'{ask.agent}' was revoked or enrolled after the token was made. {_another(ask.agent)}"
        )
    generation = enrolment.generation_for(directory, ask.agent, now)
    issued = pki.sign_request(directory, agent_uri(record.environment, ask.agent, generation), ask.request, now, life)
    used = msgspec.structs.replace(
        record,
        used_by=asker,
        used_at=now.timestamp(),
        issued_generation=generation,
        certificate=issued.certificate.decode(),
    )
    _keep(directory, ask.agent, used)
    return used


def _another(agent: str) -> str:
    return f"Make another on the coordinator's host: segwatch pki join-token {agent} …"


def _asker(request: bytes) -> str:
    if len(request) > pki.MOST_REQUEST:
        raise pki.RequestRefused(f"the request has {len(request)} bytes; {pki.MOST_REQUEST} are taken")
    try:
        key = x509.load_der_x509_csr(request).public_key()
    except UNREADABLE as error:
        raise pki.RequestRefused(f"the request cannot be read: {error}") from error
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key.public_bytes(*form)).hexdigest()


def _keep(directory: Path, agent: str, record: Record) -> None:
    write_private(directory / DIRECTORY / f"{agent}.json", msgspec.json.encode(record))


def _record(directory: Path, agent: str) -> Record | None:
    if not NAME.match(agent):
        return None
    try:
        return msgspec.json.decode((directory / DIRECTORY / f"{agent}.json").read_bytes(), type=Record)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
