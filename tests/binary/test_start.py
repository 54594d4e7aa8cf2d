"""The file starts on a host without Python: where it unpacks itself, whom it trusts there, and what it says where it cannot."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.binary.roots import CACHE, FILE, PROGRAM, Host, pythons
from wire.messages import VERSION

pytestmark = pytest.mark.binary

VERSION_SAID = f"segwatch {VERSION}\n"
USER = 4711
NOEXEC = "mount -t tmpfs -o mode=1777,noexec tmpfs tmp"
READ_ONLY = 'mount --bind "$0" "$0"; cd "$0"; mount -o remount,bind,ro "$0"'


def said_no(host: Host, first: str, user: int | None = None, env: dict[str, str] | None = None) -> str:
    """What it says where it can start nowhere; it ends with 2, and nothing is left of what it began."""
    done = host.run(PROGRAM, "--version", first=first, user=user, env=env, code=2)
    assert done.stdout == ""
    assert "SEGWATCH_UNPACK_DIR=DIR" in done.stderr
    assert not list(host.root.rglob(".unfinished"))
    return done.stderr


def test_there_is_no_python(host: Host) -> None:
    assert pythons(host.root) == []
    host.run("sh", "-c", "! command -v python && ! command -v python3")


def test_it_unpacks_itself_once(host: Host) -> None:
    assert host.run(PROGRAM, "--version").stdout == VERSION_SAID
    (unpacked,) = host.unpacked()
    assert re.fullmatch(re.escape(VERSION) + "-[0-9a-f]{16}", unpacked.name)
    before = unpacked.stat().st_ctime_ns
    assert host.run(PROGRAM, "--version").stdout == VERSION_SAID
    (again,) = host.unpacked()
    assert (again, again.stat().st_ctime_ns) == (unpacked, before)


def test_whatever_the_umask_another_user_can_run_what_root_unpacked(host: Host) -> None:
    host.run("sh", "-c", f"umask 077; {PROGRAM} --version")
    closed = [path for path in (host.root / CACHE).rglob("*") if not path.stat().st_mode & 0o004]
    assert closed == []
    assert host.run(PROGRAM, "--version", user=USER, first=READ_ONLY).stdout == VERSION_SAID


def test_an_ordinary_user_unpacks_it_at_home(host: Host) -> None:
    home = host.root / "home/somebody"
    home.mkdir(parents=True, exist_ok=True)
    shutil.chown(home, USER, USER)
    done = host.run(PROGRAM, "--version", user=USER, env={"HOME": "/home/somebody"})
    assert done.stdout == VERSION_SAID
    assert len(host.unpacked("home/somebody/.cache/segwatch")) == 1
    shutil.rmtree(home)


def test_without_anything_else_not_even_a_c_library(nothing: Host) -> None:
    assert nothing.run(PROGRAM, "--version").stdout == VERSION_SAID
    assert len(nothing.unpacked("tmp/segwatch-0")) == 1


def test_two_at_once_unpack_it_once(host: Host) -> None:
    done = host.run("sh", "-c", f"{PROGRAM} --version & {PROGRAM} --version; wait")
    assert done.stdout == VERSION_SAID * 2
    assert len(host.unpacked()) == 1


def test_what_was_begun_is_begun_again(host: Host) -> None:
    left = host.root / CACHE / ".unfinished/lib"
    left.mkdir(parents=True)
    (left / "segwatch").write_text("half")
    assert host.run(PROGRAM, "--version").stdout == VERSION_SAID
    assert len(host.unpacked()) == 1


def test_tmp_without_execution(host: Host) -> None:
    assert host.run(PROGRAM, "--version", first=NOEXEC).stdout == VERSION_SAID
    assert len(host.unpacked()) == 1, "root does not need it"
    host.forget()
    no_home = {"HOME": "/nonexistent"}
    said = said_no(host, NOEXEC, USER, no_home)
    assert f"/tmp/segwatch-{USER}: it is mounted noexec" in said
    assert "/var/cache/segwatch: Permission denied" in said
    named = f"{NOEXEC}; mkdir -p opt/mine; chown {USER} opt/mine; "
    assert host.run(
        PROGRAM, "--version", first=named, user=USER, env={**no_home, "SEGWATCH_UNPACK_DIR": "/opt/mine"}
    ).stdout == VERSION_SAID  # fmt: skip
    shutil.rmtree(host.root / "opt/mine")


def test_a_root_that_is_read_only(host: Host) -> None:
    assert "Read-only file system" in said_no(host, READ_ONLY)
    # As a unit has it: a state directory alone can be written to.
    state = f"{READ_ONLY}; mount -t tmpfs -o mode=0700 tmpfs var/lib"
    assert (
        host.run(PROGRAM, "--version", first=state, env={"STATE_DIRECTORY": "/var/lib/segwatch"}).stdout == VERSION_SAID
    )
    host.run(PROGRAM, "--version")
    assert host.run(PROGRAM, "--version", first=READ_ONLY).stdout == VERSION_SAID


def test_a_full_disk(host: Host) -> None:
    full = "mkdir -p var/cache; mount -t tmpfs -o size=4m tmpfs var/cache; mount -t tmpfs -o ro tmpfs tmp; mount -t tmpfs -o ro tmpfs root"
    assert "/var/cache/segwatch: No space left on device" in said_no(host, full)


@pytest.mark.parametrize(
    "how",
    ["chmod 0777 tmp/segwatch-0", "chown 4711 tmp/segwatch-0", "rmdir tmp/segwatch-0; ln -s ../root tmp/segwatch-0"],
)
def test_what_another_user_put_there_is_not_run(nothing: Host, how: str) -> None:
    assert "segwatch-0" in said_no(nothing, f"mkdir tmp/segwatch-0; {how}; chown -h 4711 tmp/segwatch-0")


def test_a_file_that_is_damaged(nothing: Host) -> None:
    program = nothing.root / PROGRAM.lstrip("/")
    data = bytearray(FILE.read_bytes())
    data[len(data) // 2] ^= 1
    program.write_bytes(data)
    assert "this file is damaged" in said_no(nothing, ":")


def test_a_python_of_the_host_is_not_looked_at(host: Host) -> None:
    trap: Path = host.root / "root/click.py"
    trap.write_text("raise SystemExit('the host is looked at')")
    env = {"PYTHONPATH": "/root", "PYTHONHOME": "/root", "PYTHONSTARTUP": "/root/click.py"}
    assert host.run("sh", "-c", f"cd /root; {PROGRAM} --version", env=env).stdout == VERSION_SAID
    trap.unlink()
