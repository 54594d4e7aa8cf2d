"""Whether a host has a name from its hosts file, from DNS (as which name, by a wildcard), or from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.name_origins import AGAIN_S, Origins, Said, in_hosts
from reachability.observation import Lookup
from reachability.vocabulary import NameOrigin

HOSTS = """\
127.0.0.1 localhost
10.30.0.21  db.prod.internal DB  # the old one
fd00:30::21 db.prod.internal.
# 10.30.0.22 gone.prod.internal
nonsense db.prod.internal
10.30.0.23
"""


class Dns:
    """Records by name; `below` answers all names below it. Counts what it is asked."""

    def __init__(
        self, records: dict[str, Said] | None = None, below: dict[str, Said] | None = None, *, search: str = ""
    ) -> None:
        self.records, self.below, self.search = records or {}, below or {}, search
        self.asked: list[tuple[str, str, bool]] = []
        self.away = False

    def __call__(self, name: str, kind: str, search: bool) -> Said | None:
        self.asked.append((name, kind, search))
        if self.away:
            raise OSError("DNS: no answer")
        for full in (name, *([f"{name}.{self.search}"] if search and self.search else [])):
            found = self.records.get(full) or self.below.get(full.partition(".")[2])
            if found is not None:
                return found._replace(full_name=full)
        return None


def said(*addresses: str, ttl_s: int = 300) -> Said:
    return Said("", addresses, ttl_s)


def found(name: str, *addresses: str) -> Lookup:
    return Lookup(name=name, addresses=addresses)


def origins(dns: Dns, tmp_path: Path, hosts: str = HOSTS, now: list[float] | None = None) -> Origins:
    file = tmp_path / "hosts"
    file.write_text(hosts)
    times = now or [0.0]
    return Origins(dns, file, lambda: times[0])


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("db.prod.internal", {"10.30.0.21", "fd00:30::21"}),
        ("Db.Prod.Internal.", {"10.30.0.21", "fd00:30::21"}),
        ("db", {"10.30.0.21"}),
        ("gone.prod.internal", set()),
        ("10.30.0.23", set()),
    ],
)
def test_a_hosts_file_is_read_as_libc_reads_it(name: str, addresses: set[str]) -> None:
    assert in_hosts(HOSTS, name) == addresses


def test_what_the_hosts_file_says_is_asked_of_nobody(tmp_path: Path) -> None:
    dns = Dns({"db.prod.internal": said("10.30.0.21")})
    lookup = origins(dns, tmp_path).of(found("db.prod.internal", "10.30.0.21"))
    assert (lookup.origin, lookup.addresses, dns.asked) == (NameOrigin.HOSTS_FILE, ("10.30.0.21",), [])


def test_of_an_address_that_is_not_in_the_hosts_file_dns_is_asked(tmp_path: Path) -> None:
    dns = Dns({"db.prod.internal": said("10.30.0.22")})
    assert origins(dns, tmp_path).of(found("db.prod.internal", "10.30.0.22")).origin == NameOrigin.DNS


def test_dns_says_for_how_long(tmp_path: Path) -> None:
    dns = Dns({"web.prod.internal": said("10.30.0.5", ttl_s=42)})
    lookup = origins(dns, tmp_path).of(found("web.prod.internal", "10.30.0.5"))
    assert (lookup.origin, lookup.ttl_s, lookup.full_name, lookup.wildcard) == (NameOrigin.DNS, 42, "", "")


def test_a_search_domain_shows_as_the_name_that_was_asked_for(tmp_path: Path) -> None:
    dns = Dns({"web.prod.internal": said("10.30.0.5")}, search="prod.internal")
    assert origins(dns, tmp_path).of(found("web", "10.30.0.5")).full_name == "web.prod.internal"


def test_a_wildcard_answers_a_name_that_was_made_up(tmp_path: Path) -> None:
    dns = Dns(below={"prod.internal": said("10.30.0.9")})
    assert origins(dns, tmp_path).of(found("wbe.prod.internal", "10.30.0.9")).wildcard == "*.prod.internal"
    made_up, kind, search = dns.asked[-1]
    assert made_up.startswith("segwatch-")
    assert (made_up.partition(".")[2], kind, search) == ("prod.internal", "A", False)


def test_a_record_of_its_own_beside_a_wildcard_is_none(tmp_path: Path) -> None:
    dns = Dns({"web.prod.internal": said("10.30.0.5")}, {"prod.internal": said("10.30.0.9")})
    assert origins(dns, tmp_path).of(found("web.prod.internal", "10.30.0.5")).wildcard == ""


def test_what_dns_does_not_know_is_from_elsewhere(tmp_path: Path) -> None:
    assert origins(Dns(), tmp_path).of(found("web.local", "10.30.0.5")).origin == NameOrigin.OTHER


def test_an_ipv6_name_is_asked_for_as_one(tmp_path: Path) -> None:
    dns = Dns({"six.prod.internal": said("fd00::6")})
    assert origins(dns, tmp_path).of(found("six.prod.internal", "fd00::6")).origin == NameOrigin.DNS
    assert {kind for _, kind, _ in dns.asked} == {"AAAA"}


def test_a_name_without_a_domain_is_asked_for_no_wildcard(tmp_path: Path) -> None:
    dns = Dns({"db2": said("10.30.0.5")})
    assert origins(dns, tmp_path).of(found("db2", "10.30.0.5")).origin == NameOrigin.DNS
    assert len(dns.asked) == 1


def test_where_dns_cannot_be_asked_or_nothing_was_found_nothing_is_said(tmp_path: Path) -> None:
    dns = Dns()
    dns.away = True
    web, none = found("web.prod.internal", "10.30.0.5"), Lookup(name="none", problem="no such name")
    assert [origins(dns, tmp_path).of(each) for each in (web, none)] == [web, none]
    away = Origins(dns, tmp_path / "no-such-file").of(web)
    assert away == web


def test_dns_is_asked_again_after_ten_minutes_and_the_addresses_are_always_the_new_ones(tmp_path: Path) -> None:
    dns, now = Dns({"web.prod.internal": said("10.30.0.5", ttl_s=42)}), [1000.0]
    kept = origins(dns, tmp_path, now=now)
    kept.of(found("web.prod.internal", "10.30.0.5"))
    count = len(dns.asked)
    dns.records["web.prod.internal"] = said("10.30.0.6", ttl_s=7)
    now[0] += AGAIN_S - 1
    later = kept.of(found("web.prod.internal", "10.30.0.6"))
    assert (later.addresses, later.ttl_s, len(dns.asked)) == (("10.30.0.6",), 42, count)
    now[0] += 1
    assert kept.of(found("web.prod.internal", "10.30.0.6")).ttl_s == 7


def test_of_an_address_nobody_is_asked(tmp_path: Path) -> None:
    dns = Dns()
    for address in ("10.30.0.99", "fd00:30::99"):
        assert origins(dns, tmp_path).of(found(address, address)) == found(address, address)
    assert dns.asked == []
