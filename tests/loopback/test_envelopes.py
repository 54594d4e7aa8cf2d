"""An intruder with dev's real certificate says what is not dev's to say: it is refused, reported, and has no effect."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from reachability.arrival import WitnessReport
from reachability.observation import SourceReport
from tests.loopback.intruder import DEV, PROD, Estate, estate, status
from tests.support.waiting import HANG_S, until
from wire.envelope import AnyUp
from wire.messages import Ack, Armed, Batch, Done, Renew, Status
from wire.signing import open_down
from wire.topics import UpChannel

SPOOL = "0123456789abcdef"


def request_for(name: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = [(x509.NameOID.COMMON_NAME, name), (x509.NameOID.ORGANIZATIONAL_UNIT_NAME, name.partition("-")[0])]
    asked = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(oid, text) for oid, text in subject])
    )
    return asked.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def batch(reports: Sequence[SourceReport | WitnessReport] = (), spool: str = "own", **more: Any) -> Batch:
    sources = tuple(report for report in reports if isinstance(report, SourceReport))
    witnesses = tuple(report for report in reports if isinstance(report, WitnessReport))
    return Batch(**{"spool": spool, "sequence": 1, "age_s": 0.0, "sources": sources, "witnesses": witnesses, **more})


LIES: list[tuple[UpChannel, AnyUp, str]] = [
    (UpChannel.STATUS, status("prod-1", version="forged"), "'dev-1' of 'dev' claims to be 'prod-1' of 'prod'"),
    (UpChannel.STATUS, Status(name="dev-1", environment="prod", online=True), "claims to be 'dev-1' of 'prod'"),
    (UpChannel.OBSERVATIONS, batch([SourceReport(round="R", agent="prod-1")]), "reports in the name of 'prod-1'"),
    (UpChannel.OBSERVATIONS, batch([WitnessReport(round="R", agent="prod-1")]), "reports in the name of 'prod-1'"),
    (UpChannel.ROUND, Armed(round="R", agent="prod-1", ok=True), "'dev-1' answers in the name of 'prod-1'"),
    (UpChannel.ROUND, Done(round="R", agent="prod-1", sequence=1), "'dev-1' answers in the name of 'prod-1'"),
    (UpChannel.ROUND, Renew(request=request_for("prod-1")), "asks for a certificate of 'OU=prod,CN=prod-1'"),
    (UpChannel.OBSERVATIONS, batch(sequence=2**63), "sequence of Batch is 9223372036854775808, out of range"),
    (
        UpChannel.OBSERVATIONS,
        batch(sequence=2**62, oldest=2**62),
        "sequence of Batch is 4611686018427387904, out of range",
    ),
    (UpChannel.OBSERVATIONS, batch(sequence=0), "its sequences are not valid"),
    (UpChannel.OBSERVATIONS, batch(age_s=math.nan), "age_s of Batch is nan, out of range"),
]


@pytest.mark.asyncio
async def test_what_an_envelope_says_is_held_against_its_topic(tmp_path: Path) -> None:
    async with estate(tmp_path) as found:
        first = found.says_prod(batch(spool=SPOOL))
        await found.prod.publish(f"{PROD}/up/observations", first)
        assert await _acknowledged(found) == 1
        async with found.intruder() as client:
            for channel, lie, words in LIES:
                await client.publish(f"{DEV}/up/{channel}", found.says_dev(lie), qos=1)
                await found.heard(client)
                await until(lambda words=words: found.said(words))  # type: ignore[misc]
            # A spool's id is no secret. What dev sends under it counts for a spool of dev's own.
            for sequence in (50, 1):
                stolen = batch(spool=SPOOL, sequence=sequence, oldest=sequence)
                await client.publish(f"{DEV}/up/observations", found.says_dev(stolen), qos=1)
            await found.heard(client)
        prod = found.daemon.estate.agents["prod-1"]
        assert (prod.version, prod.online) == ("real", True)
        assert not found.daemon.store.group_of("R")
        # What prod's spool holds is acknowledged by what prod sent, and comes in.
        await found.prod.publish(f"{PROD}/up/observations", found.says_prod(batch(spool=SPOOL, sequence=2)))
        assert await _acknowledged(found) == 2


async def _acknowledged(found: Estate) -> int:
    async with asyncio.timeout(HANG_S):
        async for message in found.prod.messages():
            message.done()
            body = open_down(found.daemon.post._key.verify_key, message.payload, agent="prod-1").body
            if isinstance(body, Ack):
                return body.sequence
    raise AssertionError
