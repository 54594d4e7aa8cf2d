"""The table of probe kinds."""

from __future__ import annotations

import socket

import pytest

from cli.commands.probe import KINDS as NAMES
from probes.kinds.table import KINDS, LABELS, can_run


def test_the_command_and_the_table_name_the_same_kinds() -> None:
    assert tuple(KINDS) == NAMES


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("label", LABELS)
def test_every_kind_says_what_it_proves_and_what_it_is_blind_to(kind: str, label: str) -> None:
    assert len(KINDS[kind].says(label)) > 3


def test_a_missing_capability_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise PermissionError

    monkeypatch.setattr(socket, "socket", refuse)
    assert "CAP_NET_RAW: it cannot run" in can_run("icmp")[0]
    assert "uses connect only" in can_run("tcp")[0]
    assert can_run("dns") == ()
    assert can_run("ftp") == ("there is no probe kind 'ftp'",)
