"""Batches of reports: into the coordinator's store, and what is concluded of them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import msgspec
from nacl.signing import SigningKey

from coordinator.messaging.receiver import Receiver
from coordinator.messaging.signers import Signers
from coordinator.packets.exchanges import Exchanges
from coordinator.packets.pcapng import pcapng
from coordinator.state.estate import Estate
from coordinator.state.reports import round_data
from coordinator.state.roster import AgentState
from coordinator.store import HeldRound, Part, Report, Store, strays
from reachability import trace
from reachability.evidence import conclude
from reachability.matrix import CellKey
from reachability.ports import PortSet
from reachability.round_data import RoundData
from reachability.verdict import judge
from tests.fuzz.target import Fault, Shape, Target
from tests.fuzz.targets import identity, rows, samples
from tests.fuzz.targets.batches import batch
from tests.fuzz.targets.messages import assert_readable
from tests.support import sample
from tests.support.virtual import run
from wire.codec import encode
from wire.columns import encode_batch
from wire.envelope import BadMessage, unpack_up
from wire.messages import SCHEMA, Batch, Gap, Status
from wire.mqtt import Message
from wire.signing import sign_up, split
from wire.topics import UpChannel, UpTopic, parse_up


def conclusion(data: bytes) -> None:
    """Any reports that the envelope lets through are concluded, judged, laid out in time and written."""
    try:
        batch = unpack_up(b"\x01\x00" + data)
    except BadMessage:
        return
    if not isinstance(batch, Batch):
        return
    reports: list[Report] = [*batch.sources, *batch.witnesses]
    rounds: list[RoundData] = []
    for kind, name in rows.NAMES.items():
        mine = [report for report in reports if report.round == name]
        if mine or not rounds:
            rounds.append(round_data(rows.spec(kind), {"prod-1": Part(whole=True)}, mine))
    covered: dict[CellKey, PortSet] = {}
    for key, ports, evidence in conclude(rounds).cells:
        json.dumps(evidence.note, allow_nan=False)
        judge(evidence)
        assert not covered.get(key, PortSet()) & ports, "a cell is in one piece"
        covered[key] = covered.get(key, PortSet()) | ports
    held = [
        HeldRound(one.spec, {}, [(report, samples_at) for report in reports if report.round == one.spec.round])
        for one in rounds
    ]
    exchanges = Exchanges(lambda _: held)
    found = exchanges._round("r")
    assert found is not None
    for target in rows.TARGETS[1:4]:
        key = CellKey(
            agent="dev-1",
            source_address=rows.HERE,
            destination="prod",
            address=target.address,
            protocol=target.protocol,
        )
        for port, mine_ in found.cells(key).items():
            exchange = found.exchange(key, mine_, port, exact=True)
            json.dumps(exchange, allow_nan=False)
            pcapng([exchange], "about", "segwatch")
    for report in batch.sources:
        for target in rows.TARGETS[:2]:
            trace.follow(target, report.trace, batch.witnesses)


samples_at = 1_795_000_000.0


@cache
def _estate() -> tuple[Estate, Receiver, AgentState]:
    """A real estate with its store, in memory's file system where there is one; dev-1, of which nothing was heard yet."""
    shm = Path("/dev/shm")
    folder = Path(
        tempfile.mkdtemp(prefix="segwatch-fuzz", dir=os.environ.get("TMPDIR") or (shm if shm.is_dir() else None))
    )
    _FOLDERS.append(folder)
    estate = Estate(sample.topology(), Store(folder), lambda: samples_at)
    estate.store._db.execute("PRAGMA synchronous = OFF")  # a disk is not what is tried here
    for kind in rows.NAMES:
        estate.store.start_round(spec := rows.spec(kind), spec.round, samples_at)
    estate._generations = {"dev-1": identity.GENERATION}
    engine = SimpleNamespace(report=_TOLD.append, answer=lambda *_: None)
    signers = Signers(identity.CA, lambda: samples_at, lambda _: identity.GENERATION)
    return estate, Receiver(estate, engine, None, signers, lambda _: None, lambda *_: None), estate.agents["dev-1"]  # type: ignore[arg-type]


_FOLDERS: list[Path] = []
_TOLD: list[Report] = []  # what the rounds heard of


def forget() -> None:
    """Remove what the store wrote."""
    for folder in _FOLDERS:
        shutil.rmtree(folder, ignore_errors=True)


@patch.object(strays, "MOST_REPORTS", 1)
def collect(data: bytes) -> None:
    """A message by dev-1's topics or no agent's: taken whole, or refused in words, and never under another's name."""
    estate, receiver, estate.agents["dev-1"] = _estate()
    for table in ("reports", "spools", "held", "gaps", "packets"):
        estate.store._db.execute(f"DELETE FROM {table}")
    estate.store._db.execute("INSERT INTO spools VALUES ('prod-1', 'of-prod', 0, 0), ('dev-1', 'ab12', 0, 0)")
    estate.store._db.execute("INSERT INTO held VALUES ('dev-1', 'ab12', 5, 6)")
    receiver._acks.clear()
    name, retained, sealed = _posted(data)
    others = {agent: state for agent, state in estate.agents.items() if agent != "dev-1"}
    stranger = parse_up(name)
    if name in _NOBODYS and stranger is not None:
        assert estate.take_status(stranger, samples.UP[0], retained=retained).problem
    known = receiver._signers._known
    known.clear()
    _take(receiver, name, sign_up(identity.KEY, sealed), retained=retained)
    known["dev-1"] = receiver._signers._signer(_OWN_TOPIC, _OWN_STATUS)
    reports, told = [], []
    for _ in range(2):
        _TOLD.clear()
        _take(receiver, name, sign_up(identity.KEY, sealed), retained=retained)
        reports.append(estate.store._db.execute("SELECT COUNT(*) FROM reports").fetchone()[0])
        told.append(len(_TOLD))
    assert (reports[0], 0) == (reports[1], told[1]), "what comes twice counts once"
    assert not _take(receiver, name, sign_up(_STRANGER, sealed), retained=retained), "signed by nobody that is known"
    assert {agent: state for agent, state in estate.agents.items() if agent != "dev-1"} == others
    strange = estate.store._db.execute("SELECT COUNT(*) FROM reports WHERE agent != 'dev-1'").fetchone()[0]
    assert not strange, "a report in another's name"
    begun = "SELECT COUNT(*) FROM reports WHERE round NOT IN (SELECT round FROM rounds)"
    assert estate.store._db.execute(begun).fetchone()[0] <= 1, "more of rounds that nobody began"
    assert all(agent == "dev-1" and sequence < 2**53 for (agent, _), sequence in receiver._acks.items())
    spent = estate.store._db.execute("SELECT acknowledged FROM spools WHERE agent = 'prod-1'").fetchall()
    assert spent == [(0,)], "another's spool"


def _take(receiver: Receiver, name: str, payload: bytes, *, retained: bool) -> bool:
    """Whether it was not refused; what was taken is dev-1's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cryptography warns of what a certificate should not hold
        try:
            run(receiver.take(Message(name, payload, retained=retained, done=lambda: None)))
        except BadMessage as error:
            assert_readable(error)
            return False
    taken = unpack_up(split(payload)[0])
    if isinstance(taken, Status):
        assert (taken.name, taken.environment) == ("dev-1", "dev"), "in another's name"
    for agent, signer in receiver._signers._known.items():
        assert (agent, signer.said) == ("dev-1", tuple(identity.OWN.values())), "a key that nothing vouches for"
    return True


def _posted(data: bytes) -> tuple[str, bool, bytes]:
    """Topic, whether retained, and the message before it is signed; the broker lets dev-1 write by its own topics only."""
    try:
        whole = msgspec.msgpack.decode(data)
        name = whole["topic"]
        if name.isascii() and (name.startswith("segwatch/v1/dev/dev-1/") or parse_up(name) is None or name in _NOBODYS):
            head = bytes((whole.get("version", SCHEMA), 0))
            return name, bool(whole["retained"]), head + msgspec.msgpack.encode(whole["body"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        pass
    return "segwatch/v1/dev/dev-1/up/observations", False, bytes((SCHEMA, 0)) + data


_OWN_TOPIC = UpTopic("dev", "dev-1", UpChannel.STATUS)
_OWN_STATUS = Status(name="dev-1", environment="dev", online=True, **identity.OWN)  # type: ignore[arg-type]
_STRANGER = SigningKey(b"\4" * 32)
_NOBODYS = ("segwatch/v1/dev/gone-1/up/status", "segwatch/v1/prod/dev-1/up/status")


def _sent_by_dev() -> list[bytes]:
    mine = [
        *samples.UP,
        *(batch(rows.source(rows.NORMAL), sequence=number) for number in (1, 2, 5, 7)),
        batch(*(replace(rows.source(rows.NORMAL), round=name) for name in ("x", "y"))),
        batch(replace(rows.witness(rows.NORMAL), agent="dev-1", kept=())),
        msgspec.structs.replace(batch(rows.source(rows.NORMAL)), spool="of-prod"),
        Batch(
            spool="ab12",
            sequence=8,
            age_s=0.0,
            gaps=(Gap(first=1, last=8, reports=8, why="age", begun_age_s=9.0, ended_age_s=1.0),),
        ),
    ]
    bodies: list[dict[str, Any]] = [
        msgspec.msgpack.decode(encode_batch(one) if isinstance(one, Batch) else encode(one)) for one in mine
    ]
    made = [("segwatch/v1/dev/dev-1/up/status", retained, body) for body in bodies for retained in (True, False)]
    changes: list[dict[str, Any]] = [
        {"online": False},
        {"name": "prod-1"},
        {"generation": 5},
        {"environment": "prod"},
        {"addresses": []},
        {"addresses": ["10.10.0.99"]},
        {"instance": "cd56", "refusals": 2},
        *identity.NOT_OURS,
    ]
    made += [("segwatch/v1/dev/dev-1/up/status", False, {**bodies[0], **changed}) for changed in changes]
    made += [(name, False, bodies[0]) for name in (*_NOBODYS, "other/topic")]
    return [
        *samples.bodies(),
        *(msgspec.msgpack.encode({"topic": name, "retained": retained, "body": body}) for name, retained, body in made),
        msgspec.msgpack.encode({"topic": made[0][0], "retained": False, "body": bodies[0], "version": 2}),
    ]


TARGETS = (
    Target(
        "conclusion", conclusion, samples.bodies,
        {"reachability/evidence.py": (), "reachability/facts.py": (), "reachability/challenge.py": (), "coordinator/packets/timeline.py": (), "reachability/trace.py": ("follow", "_end", "_witnessed", "_reached")},
        (
            Fault("reachability.challenge:ours", "    if any(pattern.is_beyond(times) for times in by_address.values()):", "    if False:"),
            Fault("wire.bounds:_text", '(name == "address" and kind in _HAVE_ADDRESS)', "False"),
            Fault("wire.bounds:_checked", "if not -most_time <= value <= most_time:", "if False:"),
            Fault("reachability.host_facts:_ports_of", "PortSet.of([row.port])", "PortSet.parse(str(row.port))"),
            Fault("reachability.overlay:overlay", "rest ^= both", "rest ^= 0"),
        ),
        Shape.MSGPACK,
        share=3,
    ),
    Target(
        "collect", collect, _sent_by_dev, {"coordinator/messaging/receiver.py": ("Receiver.take", "Receiver._batch"), "coordinator/messaging/signers.py": (), "coordinator/state/estate.py": ("Estate.take_status", "Estate.cannot_take"), "coordinator/state/roster.py": ("said", "is_old_news"), "coordinator/store/store.py": ("Store.take", "Store._add_reports"), "coordinator/store/spools.py": ("Spools.take", "Spools._missing", "Spools._hold", "Spools._settle")},
        (
            Fault("coordinator.messaging.receiver:Receiver._batch", "        if strange:", "        if False:"),
            Fault("coordinator.messaging.signers:Signers.open", "        if not is_signed_up(known.key, sealed, signature):", "        if False:"),
            Fault("coordinator.messaging.signers:Signers._check", "        if signer.uri != agent_uri(topic.environment, topic.agent):", "        if False:"),
            Fault("coordinator.messaging.signers:Signers._check", "        if signer.generation < self._generation_of(topic.agent):", "        if False:"),
            Fault("coordinator.messaging.signers:Signers._check", "        if self._clock() > signer.ends.timestamp():", "        if False:"),
            Fault("coordinator.messaging.signers:Signers._signer", "        except _NO_CERTIFICATE as error:", "        except InvalidSignature as error:"),
            Fault("coordinator.messaging.signers:Signers._signer", "if is_issued_by(each, certificate)]", "]"),
            Fault("coordinator.store.spools:Spools.take", "        key = _Key(agent, spool)", "        key = _Key('prod-1', spool)"),
            Fault("coordinator.store.spools:Spools.take", "        new = any(self._missing(key, acknowledged, sequence, sequence))", "        new = True"),
            Fault("wire.bounds:_checked", "if not (-most if name in _SIGNED else 0) <= value <= most:", "if False:"),
            Fault("coordinator.state.roster:refusal", "if (status.name, status.environment) != (topic.agent, topic.environment) or declared != topic.environment:", "if False:"),
        ),
        Shape.MSGPACK,
        share=2,
    ),
)  # fmt: skip
