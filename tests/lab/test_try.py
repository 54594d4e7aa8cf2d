"""`segwatch try` between two hosts with a firewall: every answer against what the router's and the host's own counters say."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import pytest

from lab.estate import CORE_SEGMENT, Estate, Host, Plan, Segment
from lab.system import SEGWATCH
from tests.lab.services import serve

pytestmark = pytest.mark.lab

SOURCE, SOURCE6 = "10.10.0.10", "fd00:10::10"
HOST, HOST6 = "10.30.0.10", "fd00:30::10"
CONTROL = "10.0.0.10"
PLAN = Plan(
    (
        CORE_SEGMENT,
        Segment("dev", ("10.10.0.0/24", "fd00:10::/64"), (Host("source", (f"{SOURCE}/24", f"{SOURCE6}/64")),)),
        Segment("prod", ("10.30.0.0/24", "fd00:30::/64"), (Host("host", (f"{HOST}/24", f"{HOST6}/64")),)),
    )
)
MEET = "meta l4proto { tcp, udp } th dport 8884 accept"
RULES = (
    "tcp dport { 22, 8000, 8001 } accept",
    "tcp dport 81 reject with tcp reset",
    "tcp dport 82 reject with icmpx type admin-prohibited",
    "udp dport { 54, 9000, 9001 } accept",
    "udp dport 55 reject with icmpx type admin-prohibited",
    "icmp type echo-request accept",
)
# What comes back from there is dropped before anything else looks at it.
ONE_WAY = """table inet back {
  chain forward { type filter hook forward priority -10; tcp sport 8001 drop; }
}
"""
AT_HOST = """table inet own {
  chain input { type filter hook input priority 0; udp dport 56 drop; }
}
"""
COUNTED = [("tcp", port) for port in (22, 80, 81, 82, 8000, 8001)]
COUNTED += [("udp", port) for port in (53, 54, 55, 56, 9000, 9001)]
# (protocol, port) -> reachability, proof, row; of ports that cross the host's own counter moves, of the others it does not.
SAID = {
    ("tcp", 22): ("reachable", "replied", 5),  # nobody listens
    ("tcp", 80): ("blocked", "witnessed", 15),  # dropped, though a service listens
    ("tcp", 81): ("blocked", "witnessed", 6),  # reset by the router
    ("tcp", 82): ("blocked", "witnessed", 15),  # refused by the router
    ("tcp", 8000): ("reachable", "replied", 1),
    ("tcp", 8001): ("one-way", "witnessed", 10),
    ("udp", 53): ("blocked", "witnessed", 15),
    ("udp", 54): ("reachable", "replied", 5),  # nobody listens
    ("udp", 55): ("blocked", "witnessed", 15),
    ("udp", 9000): ("reachable", "replied", 1),
    ("udp", 9001): ("one-way", "witnessed", 14),  # a service that never answers
}
CROSSING = {"reachable", "one-way"}
TO = "22,80-82,8000,8001,udp/53-55,udp/9000-9001"


class Side:
    """One `segwatch try` that runs, with a pipe to type into."""

    def __init__(self, estate: Estate, host: str, arguments: Sequence[str], drop_caps: Sequence[str] = ()) -> None:
        self._out, self._err = estate.directory / f"{host}.out", estate.directory / f"{host}.err"
        theirs, self._mine = os.pipe()
        command = [str(SEGWATCH), "try", *arguments, "-o", "json"]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = estate.spawn(host, command, stdin=theirs, stdout=out, stderr=err, drop_caps=drop_caps)
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        if self.process.poll() is None:
            self.process.kill()

    def end(self) -> None:
        """Nothing more will be typed."""
        if self._mine >= 0:
            os.close(self._mine)
        self._mine = -1

    def type(self, text: str) -> None:
        os.write(self._mine, f"{text}\n".encode())

    def said(self, prefix: str) -> str:
        """The line that begins so, once it is there."""
        found: list[str] = []

        def there() -> bool:
            text = self._err.read_text("utf-8")
            found[:] = [
                line for line in text.splitlines(keepends=True) if line.startswith(prefix) and line.endswith("\n")
            ]
            assert found or self.process.poll() is None, f"ended without '{prefix}': {text}"
            return bool(found)

        wait(there, prefix)
        return found[0].strip()

    def ended(self) -> tuple[int, Any]:
        """Exit code and body."""
        code = self.process.wait(HANGS_S)
        assert code in {0, 1, 3}, self._err.read_text("utf-8")
        return code, json.loads(self._out.read_text("utf-8"))


HANGS_S = 120.0


def wait(ready: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + HANGS_S
    while not ready():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.02)


@contextmanager
def estate(rules: Sequence[str]) -> Iterator[Estate]:
    with Estate(PLAN) as built:
        built.rules(rules)
        built.nft("router", ONE_WAY)
        counters = "\n".join(f"    {protocol} dport {port} counter" for protocol, port in COUNTED)
        chain = "type filter hook prerouting priority -300;"
        built.nft("host", f"table inet seen {{\n  chain first {{ {chain}\n{counters}\n  }}\n}}\n")
        serve(built, "host", [("tcp", 80), ("tcp", 8000), ("tcp", 8001), ("udp", 9000), ("sink", 9001)])
        yield built


def arrived(built: Estate) -> dict[tuple[str, int], int]:
    """What the host's own counters say."""
    text = built.run("host", ["nft", "list", "table", "inet", "seen"]).check().stdout
    found = re.findall(r"(tcp|udp) dport (\d+) counter packets (\d+)", text)
    return {(protocol, int(port)): int(count) for protocol, port, count in found}


def verdicts(body: Any, address: str = HOST) -> dict[tuple[str, int], tuple[str, str, int]]:
    """Reachability, proof and row of each port; port 0 for ICMP."""
    found = {}
    for cell in body["cells"]:
        if cell["address"] == address:
            for low, high in (part.partition("-")[::2] for part in (cell["ports"] or "0").split(",")):
                for port in range(int(low), int(high or low) + 1):
                    found[cell["protocol"], port] = cell["reachability"], cell["proof"], cell["row"]
    return found


@contextmanager
def destination(built: Estate, *to: str, drop_caps: Sequence[str] = ()) -> Iterator[tuple[Side, str]]:
    with Side(built, "host", [option for each in to for option in ("--to", each)], drop_caps) as side:
        yield side, side.said("segwatch try ").split()[-1]


def test_every_answer_where_the_reports_meet() -> None:
    with estate((MEET, "udp dport 56 accept", *RULES)) as built:
        built.nft("host", AT_HOST)
        with (
            destination(built, f"{HOST}:{TO},udp/56,icmp", f"[{HOST6}]:{TO}") as (host, line),
            Side(built, "source", [line]) as source,
        ):
            (code, at_source), (host_code, at_host) = source.ended(), host.ended()
        counted = arrived(built)
    assert (code, host_code) == (1, 1)
    assert at_source["complete"]
    assert at_source["cells"] == at_host["cells"], "both sides show the same verdict"
    said = verdicts(at_source)
    # It takes a further round to tell it from udp/54, at which nobody listens either.
    assert said.pop(("udp", 56)) == ("blocked-at-host", "witnessed", 12)
    assert said == SAID | {("icmp", 0): ("reachable", "replied", 1)}
    assert verdicts(at_source, HOST6) == SAID
    crossed = {port for port, said in SAID.items() if said[0] in CROSSING} | {("udp", 56)}
    assert {port for port, count in counted.items() if count} == crossed


def test_reports_that_a_person_carries_where_all_is_dropped() -> None:
    with estate(()) as built:
        built.nft("router", "insert rule inet lab forward tcp dport 8001 accept")  # whose answers are dropped
        with (
            destination(built, f"{HOST}:80,8000,8001,udp/9000,icmp") as (host, line),
            Side(built, "source", [line]) as source,
        ):
            host.type("told1.what-is-this")
            host.type(source.said("sent1."))
            source.type("an answer to something else")
            source.type(host.said("told1."))
            (code, at_source), (host_code, at_host) = source.ended(), host.ended()
        counted = arrived(built)
    assert (code, host_code) == (1, 1)
    assert at_source["cells"] == at_host["cells"]
    said = verdicts(at_source)
    assert said.pop(("tcp", 8001)) == ("one-way", "witnessed", 10)
    assert counted["tcp", 8001]
    assert counted["tcp", 80] == counted["tcp", 8000] == counted["udp", 9000] == 0
    # Over TCP a packet of the source was shown to get out; over UDP and ICMP none was.
    assert said == {
        ("tcp", 80): ("blocked", "witnessed", 15),
        ("tcp", 8000): ("blocked", "witnessed", 15),
        ("udp", 9000): ("unknown", "none", 18),
        ("icmp", 0): ("unknown", "none", 18),
    }


def resolve(built: Estate, host: str, address: str) -> None:
    """A resolver there; it says nothing to what is no query."""
    command = ["dnsmasq", "-k", "--no-resolv", "--no-hosts", "--no-daemon", "--user=root", "--pid-file="]
    built.spawn(host, [*command, f"--listen-address={address}", "--bind-interfaces"])
    wait(lambda: f"{address}:53 " in built.run(host, ["ss", "-Hlun"]).stdout, "dnsmasq")


def test_closed_ports_beside_a_resolver_are_proven() -> None:
    with estate((MEET, "udp dport { 53, 54 } accept")) as built:
        resolve(built, "host", HOST)
        with destination(built, f"{HOST}:udp/53-58") as (host, line), Side(built, "source", [line]) as source:
            (code, at_source), _ = source.ended(), host.ended()
        counted = arrived(built)
    assert code == 1
    closed = {("udp", port): ("blocked", "witnessed", 15) for port in range(55, 59)}
    assert verdicts(at_source) == closed | {
        ("udp", 53): ("reachable", "replied", 1),
        ("udp", 54): ("reachable", "replied", 5),  # nobody listens
    }
    assert counted["udp", 53] > 0 == counted["udp", 55] == counted["udp", 56]


def test_without_the_other_sides_report_silence_proves_nothing() -> None:
    with estate(RULES) as built:
        resolve(built, "coordinator", CONTROL)
        with (
            destination(built, f"{HOST}:{TO}") as (host, line),
            Side(built, "source", [line, "--control", f"{CONTROL}:53"]) as source,
        ):
            sent = source.said("sent1.")
            source.end()  # nobody carries anything back
            code, alone = source.ended()
            host.type(sent)
            host_code, both = host.ended()
        with destination(built, f"{HOST}:80,8000", drop_caps=["net_raw"]) as (host, line):
            host.type("")
            nothing_came = host.ended()
    assert code == 1, "what answered is known to the source alone"
    assert not alone["complete"]
    assert {port for port, said in verdicts(alone).items() if said[0] == "reachable"} == {("tcp", 8000), ("udp", 9000)}
    assert {said[0] for said in verdicts(alone).values()} == {"reachable", "unknown"}, "not one is said to be closed"
    missing = {cell["settle"] for cell in alone["cells"] if cell["reachability"] == "unknown"}
    assert len(missing) == 1
    assert missing.pop().startswith("carry the source's line to the destination, and its answer back")
    assert (host_code, verdicts(both)) == (1, SAID)
    assert nothing_came[0] == 3
    assert (nothing_came[1]["result"], nothing_came[1]["cells"]) == ("inconclusive", [])
    assert "CAP_NET_RAW" in nothing_came[1]["lacks"]


def test_a_source_without_raw_sockets_proves_what_crosses_and_nothing_closed() -> None:
    with (
        estate((MEET, *RULES)) as built,
        destination(built, f"{HOST}:80,8000,8001") as (host, line),
        Side(built, "source", [line], ["net_raw"]) as source,
    ):
        (code, at_source), (host_code, at_host) = source.ended(), host.ended()
    assert (code, host_code) == (1, 1)
    assert "CAP_NET_RAW" in at_source["lacks"]
    assert at_source["cells"] == at_host["cells"]
    assert verdicts(at_source) == {
        ("tcp", 80): ("unknown", "none", 18),
        ("tcp", 8000): ("reachable", "replied", 1),
        ("tcp", 8001): ("one-way", "witnessed", 10),
    }
