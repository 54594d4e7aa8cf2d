"""Why a lab cannot be built, in words; and the router's rules as text."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from lab import sealed
from lab.estate import CORE_SEGMENT, Host, Plan, Segment, ruleset

PLAN = Plan((CORE_SEGMENT, Segment("dev", ("10.10.0.0/24",), (Host("dev-1", ("10.10.0.10/24", "fd00:10::10/64")),))))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"user/max_user_namespaces": "0"}, "sysctl -w user.max_user_namespaces=10000"),
        ({"kernel/unprivileged_userns_clone": "0"}, "sysctl -w kernel.unprivileged_userns_clone=1"),
        ({"kernel/apparmor_restrict_unprivileged_userns": "1"}, "AppArmor restricts user namespaces here"),
    ],
)
def test_a_kernel_that_forbids_it_is_named_with_the_command_that_helps(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    monkeypatch.setattr(sealed, "_setting", lambda name: settings.get(name, ""))
    monkeypatch.setattr(shutil, "which", lambda command, path=None: command)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert said in sealed.check()


def test_seccomp_in_a_container_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, "", "unshare: unshare failed: Operation not permitted\n")

    monkeypatch.setattr(sealed, "_setting", lambda _: "")
    monkeypatch.setattr(shutil, "which", lambda command, path=None: command)
    monkeypatch.setattr(subprocess, "run", refused)
    said = sealed.check()
    assert "Operation not permitted" in said
    assert "--privileged" in said


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    assert (
        sealed.check() == "the lab needs iproute2, nftables, util-linux: apt-get install iproute2 nftables util-linux"
    )


def test_the_rulesets_order() -> None:
    text = ruleset(PLAN, ["tcp dport 1 accept", "tcp dport 2 drop"])
    places = [text.index(part) for part in ("established", "10.0.0.0/24", "tcp dport 1", "tcp dport 2", "counter drop")]
    assert places == sorted(places)
    assert text.startswith("add table inet lab\ndelete table inet lab\n"), "one transaction replaces it"


def test_a_host_has_an_address_of_each_family() -> None:
    assert (PLAN.host("dev-1").address(), PLAN.host("dev-1").address(6)) == ("10.10.0.10", "fd00:10::10")
