"""A baseline file: read back as it was written, or refused with the place and the remedy of each error."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from coordinator.topology.baseline import BaselineErrors, baseline_text, load_baseline, parse_baseline
from coordinator.topology.schema import schema
from reachability.baseline import Baseline, Entry
from reachability.fold import Kind
from reachability.ports import PortSet
from reachability.topology import Mark, PortSpec
from tests.support.paths import ROOT

GOOD = """\
version: 1
known:
  - finding: F-3a91c0
    kind: unexpected-path
    from: dev
    agents: [dev-1]
    to: prod
    addresses: [10.30.0.21, "FD00:30::21", DB.prod.internal]
    ports: [tcp/5000-5003, udp/53, icmp]
    owner: data-eng
    justification: moves in January
    expires: 2027-01-31T01:00:00+01:00
"""


def errors_of(text: str) -> list[str]:
    with pytest.raises(BaselineErrors) as raised:
        parse_baseline(text.encode(), "b.yaml")
    assert all(error.isprintable() for error in raised.value.errors)
    return list(raised.value.errors)


def test_it_is_read_normalised() -> None:
    [entry] = parse_baseline(GOOD.encode()).entries
    assert entry == Entry(
        kind=Kind.UNEXPECTED_PATH,
        source="dev",
        destination="prod",
        agents=("dev-1",),
        addresses=("10.30.0.21", "fd00:30::21", "db.prod.internal"),
        ports=PortSpec(tcp=PortSet.parse("5000-5003"), udp=PortSet.of([53]), icmp=True),
        owner="data-eng",
        expires=datetime(2027, 1, 31, tzinfo=UTC),
        finding="F-3a91c0",
        justification="moves in January",
        mark=Mark(3, 5, 12),
    )


BAD = [
    (
        lambda text: text.replace("owner: data-eng", "onwer: data-eng"),
        [
            "b.yaml:3:5: entry 'F-3a91c0' lacks 'owner': who answers for it",
            "b.yaml:10:5: unknown key 'onwer' in entry 'F-3a91c0'; did you mean 'owner'?",
        ],
    ),
    (
        lambda text: text.replace("owner: data-eng", "owner: ' '"),
        ["b.yaml:10:12: 'owner' of entry 'F-3a91c0' is ' '; it must be a line of text with something in it"],
    ),
    (
        lambda text: text.replace("T01:00:00+01:00", ""),
        [
            "b.yaml:12:14: 'expires' of entry 'F-3a91c0': '2027-01-31' has no time zone; write 2027-01-31T00:00:00Z for UTC"
        ],
    ),
    (
        lambda text: text.replace("    expires: 2027-01-31T01:00:00+01:00\n", ""),
        ["b.yaml:3:5: entry 'F-3a91c0' lacks 'expires': when it ends: an RFC 3339 time with its zone"],
    ),
    (
        lambda text: text.replace("tcp/5000-5003", "5000"),
        ["b.yaml:9:13: item 1 of 'ports' of entry 'F-3a91c0' must be a text such as tcp/5000, not 5000"],
    ),
    (
        lambda text: text.replace("unexpected-path", "unexpected"),
        [
            (
                "b.yaml:4:11: 'kind' of entry 'F-3a91c0' is 'unexpected'; it must be unexpected-path or missing-path"
                "; did you mean 'unexpected-path'?"
            )
        ],
    ),
    (
        lambda text: text.replace("known:", "nown:"),
        [
            "b.yaml:1:1: the baseline lacks the key 'known': what is known to fail",
            "b.yaml:2:1: unknown key 'nown' in the baseline; did you mean 'known'?",
        ],
    ),
    (
        lambda text: text + "    owner: b\n",
        ["b.yaml:13:5: duplicate key 'owner'; the first is on line 10: take one out"],
    ),
    (lambda _: "", ["b.yaml:1:1: the file is empty; a baseline is a mapping that begins with 'version: 1'"]),
    (
        lambda text: text + "---\n",
        ["b.yaml:13:1: a second document begins here; a baseline is only one: take the rest out"],
    ),
    (lambda text: text.replace("version: 1", "version: 2"), ["b.yaml:1:10: 'version' is 2; it must be 1"]),
]


@pytest.mark.parametrize(("spoil", "wanted"), BAD, ids=range(len(BAD)))
def test_a_bad_file_says_what_is_wrong_where_and_what_to_do(spoil: Callable[[str], str], wanted: list[str]) -> None:
    assert errors_of(spoil(GOOD)) == wanted


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(BaselineErrors, match="cannot be read: no such file or directory; name a baseline file"):
        load_baseline(tmp_path / "none.yaml")
    with pytest.raises(BaselineErrors, match="larger than 16 MiB, which no baseline is"):
        parse_baseline(b"#" * (16 * 1024 * 1024 + 1))


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
PORTS = st.sets(st.integers(1, 65535), max_size=4).map(PortSet.of)
ENTRIES = st.builds(
    Entry,
    kind=st.sampled_from(Kind),
    source=NAMES,
    destination=NAMES,
    agents=st.lists(NAMES, unique=True, max_size=3).map(tuple),
    addresses=st.lists(
        st.ip_addresses(v=4).map(str).filter(lambda a: not a.startswith(("0.0.0.0", "2", "255"))),
        unique=True,
        min_size=1,
        max_size=3,
    ).map(tuple),
    ports=st.builds(PortSpec, PORTS, PORTS, st.booleans()).filter(bool),
    owner=st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=30),
    expires=st.integers(1_600_000_000, 4_000_000_000).map(lambda at: datetime.fromtimestamp(at, UTC)),
    finding=st.just("") | st.just("F-3a91c0"),
    justification=st.just("") | st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=30),
)


@given(st.lists(ENTRIES, max_size=3))
@example([replace(parse_baseline(GOOD.encode()).entries[0], owner="0E0", addresses=("1e5",), mark=Mark())])
def test_what_is_written_is_read_back(entries: list[Entry]) -> None:
    read = parse_baseline(baseline_text(Baseline(tuple(entries))).encode()).entries
    assert [replace(entry, mark=Mark()) for entry in read] == entries


def test_the_file_to_copy_is_an_empty_one() -> None:
    copied = ROOT / "deploy" / "ci" / "segwatch-baseline.yaml"
    assert load_baseline(copied).entries == ()


def test_its_schema_documents_every_key() -> None:
    entry = schema("baseline")["$defs"]["entry"]
    assert all("description" in value for value in entry["properties"].values())
    written = yaml.safe_load(GOOD.replace("2027-01-31T01:00:00+01:00", "x"))["known"][0]
    assert set(written) == set(entry["properties"])
    json.dumps(schema("baseline"))
