"""What reaches the coordinator beside reports and requests: topics, topologies."""

from __future__ import annotations

import contextlib
from functools import cache
from unittest.mock import patch

from coordinator.topology import document
from coordinator.topology.document import UnreadableError, read_yaml
from coordinator.topology.load import TopologyErrors, parse_topology
from tests.fuzz.target import Fault, Shape, Target
from tests.fuzz.targets.messages import assert_readable
from tests.support.paths import ROOT
from wire.dial import parse_url
from wire.topics import UpChannel, UpTopic, parse_up, up


def topic(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    found = parse_up(text)
    if found is not None:
        assert isinstance(found, UpTopic)
        assert up(found.environment, found.agent, found.channel) == text
    try:
        nodes = parse_url(text)
    except ValueError as error:
        assert_readable(error)
    else:
        assert nodes
        assert all(host and 0 < port <= 65535 for host, port in nodes)


def _topics() -> list[bytes]:
    topics = [up("dev", "dev-1", channel).encode() for channel in UpChannel]
    urls = [
        "mqtts://10.0.0.1:8883",
        "mqtts://[fd00::1]:8883",
        "mqtts://h",
        "mqtts://u@h:1",
        "http://h",
        "mqtts://h:99999",
        "mqtts://h:x",
        "mqtts://[::1",
        "mqtts://\x1b[2Jh/x",
        "mqtts://h:0",
        "mqtts://[1:2]@:9",
    ]
    return [
        *topics,
        b"segwatch/v1/dev/dev-1/up/else",
        b"segwatch/v1/Dev/dev-1/up/status",
        b"a/b",
        *map(str.encode, urls),
    ]


MOST_VALUES = 100_000  # what it is takes its time


@patch.object(document, "MOST_VALUES", MOST_VALUES)
def topology(data: bytes) -> None:
    with contextlib.suppress(UnicodeDecodeError, UnreadableError):
        assert len(read_yaml(data.decode()).places) <= MOST_VALUES
    try:
        found = parse_topology(data)
    except TopologyErrors as error:
        assert error.errors
        for line in error.errors:
            assert line.isprintable(), repr(line)
            assert len(line) <= 2000
        return
    for environment in found.environments.values():
        for service in environment.services.values():
            for host in service.hosts:
                assert host.isprintable()
                assert " " not in host


@cache
def _topologies() -> tuple[bytes, ...]:
    bad = sorted((ROOT / "tests" / "bad_topologies").glob("*.yaml"))
    small = [path.read_bytes() for path in bad if path.stat().st_size < 3000]
    bomb = b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [%s]\n" % (n + 1, n + 1, b",".join([b"*%c" % n] * 10)) for n in range(97, 101)
    )
    deep = b"a: &a " + b"[" * 20 + b"]" * 20 + b"\nb: " + b"[" * 20 + b"*a" + b"]" * 20
    strange = [
        bomb,
        deep,
        b"a: *x",
        b"a: &x 1\nb: *x\n*x : 2",
        b"a: " + b"[" * 40,
        b"a: [" + b"!t x, " * 210 + b"]",
        b"a: !!str &a 1\nb: ! 2",
    ]
    whole = (ROOT / "topology.yaml").read_bytes()
    swaps = [
        (b"tcp/8888", b"icmp"),
        (b"tcp/8888", b"8888"),
        (b"2027-01-31T00:00:00Z", "２027".encode()),
        (b"2027-01-31T00:00:00Z", b"0001-01-01T00:00:00+23:59"),
        (b"from: ", b"from: 10.0.0.1\n#"),
        (b"from: ", b"from: a.b.c\n#"),
        (b"to: ", b"to: fd00::1/64\n#"),
    ]
    return (whole, *small, *strange, *(whole.replace(old, new) for old, new in swaps))


WORDS = (
    b"environments:",
    b"networks: [",
    b"10.30.0.0/24",
    b"paths:\n",
    b"- ",
    b"&a ",
    b"*a",
    b"!!",
    b"'",
    b'"',
    b"{",
    b"[",
    b": ",
    b"\n  ",
    b"|",
    b"\xe2\x80\xae",
    b"\x1b",
    b"1e999",
    b"tcp/1-65535",
    b"99999999999999999999",
)

TARGETS = (
    Target(
        "topic", topic, _topics, {"wire/topics.py": ("parse_up",), "wire/dial.py": ("parse_url", "_endpoint")},
        (Fault("wire.topics:parse_up", "if NAME.match(environment) and NAME.match(agent):", "if True:"), Fault("wire.topics:parse_up", "            if channel in set(UpChannel):", "            if True:")),
        Shape.TEXT, words=(b"/up/", b"status", b"mqtts://", b":", b"[", b"\x1b", b"segwatch/v1/"),
        share=60,
    ),
    Target(
        "topology", topology, _topologies, {"coordinator/topology/load.py": ("parse_topology", "_decoded", "located"), **{f"coordinator/topology/{name}.py": () for name in ("document", "scalars", "build", "consistency")}, "coordinator/topology/schema.py": ("check", "_unknown_keys", "_missing_keys", "_twice", "_other", "_described")},
        (
            Fault("coordinator.topology.load:_decoded", "    except UnicodeDecodeError as error:", "    except KeyError as error:"),
            Fault("coordinator.topology.load:FileErrors.__init__", "printable(problem.message)", "problem.message"),
            Fault("coordinator.topology.scalars:parse_instant", "    except OverflowError:", "    except KeyError:"),
            Fault("coordinator.topology.document:_Composer._count", "        if self.values > MOST_VALUES:", "        if False:"),
        ),
        Shape.TEXT, words=WORDS,
        share=1,
    ),
)  # fmt: skip
