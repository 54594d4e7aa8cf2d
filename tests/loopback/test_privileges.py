"""What a running agent and its packet child may do on their host, seen from the outside and tried from the inside."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
import pytest

from agent.config import ConfigError
from agent.privileges import settle
from reachability.observation import Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, RoundKind
from tests.loopback import open_to_all
from tests.loopback.agents import configure
from tests.loopback.childs_user import CHILDS_USER, LANDLOCK, SHOWN, with_childs_user
from tests.loopback.estate import Site
from tests.loopback.middle import Middle, arm, of
from tests.support.processes import command_line
from wire.messages import Armed, Batch, Close, Done, Go, Status
from wire.process.privileges import Capability, Held, mask

RAW = mask(Capability.NET_RAW)
NOBODY = 65534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to another user")


@contextmanager
def ending(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the test, whatever becomes of it."""
    with process:
        try:
            yield process
        finally:
            process.kill()


def start(directory: Path, *options: str, childs: bool = False) -> AbstractContextManager[subprocess.Popen[str]]:
    command = [sys.executable, "-P", "-m", "agent", "--state-dir", str(directory), "--log", "json", *options]
    if options:
        command = [sys.executable, open_to_all.__file__, *(with_childs_user() if childs else []), *command]
    return ending(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))


def looked_into_by_its_own_user(pid: int) -> bool:
    """Whether a process of that user, with no capability, can read what another one was started with."""
    user = str(Held.read(pid).user)
    command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--bounding-set=-all"]
    command += ["--inh-caps=-all", "cat", f"/proc/{pid}/environ"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def one_that_did_not_say_no_is_looked_into() -> bool:
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    with ending(subprocess.Popen([*as_nobody, "sleep", "60"], text=True)) as plain:
        while psutil.Process(plain.pid).name() != "sleep":
            time.sleep(0.01)
        return looked_into_by_its_own_user(plain.pid)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("user", "childs"),
    [("", False), pytest.param("nobody", False, marks=AS_ROOT), pytest.param("nobody", True, marks=AS_ROOT)],
    ids=["as-it-is", "own-user", "child-too"],
)
async def test_only_the_packet_child_may_send_raw_and_neither_offers_anything(
    elsewhere: str, open_path: Path, user: str, childs: bool
) -> None:
    site = Site(open_path)
    await site.broker.start()
    middle, directory = Middle(site), open_path / "agent"
    configure(site, directory)
    targets = (probed(1, elsewhere, Protocol.UDP, 53), probed(2, elsewhere, Protocol.TCP, 22))
    try:
        async with middle.link:
            with start(directory, *(("--user", user) if user else ()), childs=childs) as running:
                status = await middle.hear(Status)
                assert status.raw == bool(Held.read().effective & RAW)
                await middle.tell(arm("r1"))
                await middle.hear(Armed)
                await middle.tell(Go(round="r2", key=b"k" * 16, kind=RoundKind.NORMAL, targets=targets))
                # Not the one that looks at the certificate, which ends by itself.
                (child,) = (c for c in psutil.Process(running.pid).children() if "probes.child" in command_line(c))
                daemons = NOBODY if user else os.geteuid()
                holds(Held.read(running.pid), Held.read(child.pid), daemons, CHILDS_USER if childs else daemons)
                async with asyncio.TaskGroup() as group:
                    done = group.create_task(middle.hear(Done))
                    offered = await offers((running.pid, child.pid), done)
                assert done.result().ok
                assert offered == []
                sent = await middle.hear(Batch, of("r2"))
                if os.geteuid() == 0:
                    assert {o.sent > 0 for o in sent.sources[0].observations} == {True}, (
                        "nothing was sent: it shows nothing"
                    )
                await middle.tell(Close(round="r1"))
                report = await middle.hear(Batch, lambda batch: bool(batch.witnesses))
                assert report.witnesses[0].problems == ()
                if user:
                    assert one_that_did_not_say_no_is_looked_into()
                    assert not looked_into_by_its_own_user(running.pid)
                    assert not looked_into_by_its_own_user(child.pid)
                    assert {path.stat().st_uid for path in (directory, *directory.iterdir())} == {NOBODY}
                    assert stat.S_IMODE((directory / "agent.key").stat().st_mode) == 0o600
                running.terminate()
                assert running.stderr
                said = running.stderr.read()
                assert running.wait() == 0, said
                if not user and os.geteuid() == 0:
                    assert "it stays" in said
    finally:
        await site.broker.stop()


def holds(daemon: Held, child: Held, user: int, childs: int) -> None:
    """The daemon can use no capability, the child CAP_NET_RAW alone; neither can gain any."""
    raw = Held.read().effective & RAW
    assert (daemon.user, daemon.effective, daemon.permitted) == (user, 0, raw)
    assert (child.user, child.effective, child.permitted) == (childs, raw, raw)
    assert daemon.no_new_privileges
    assert child.no_new_privileges
    assert child.filtered
    if os.geteuid() == 0:
        assert (daemon.bounding, child.bounding) == (RAW, RAW)


def probed(number: int, address: str, protocol: Protocol, port: int) -> Target:
    ports = str(port)
    return Target(
        id=number,
        environment="prod",
        address=address,
        protocol=protocol,
        ports=PortSet.parse(ports),
        first=PortSet.parse(ports),
    )


async def offers(pids: tuple[int, ...], done: asyncio.Task[Done]) -> list[str]:
    """What these listen on, or answer on by UDP, until the round is over; looked at again and again."""
    found, seen = [], 0
    while not done.done():
        for pid in pids:
            for held in psutil.Process(pid).net_connections("inet"):
                seen += 1
                stranger = held.type == socket.SOCK_DGRAM and not held.raddr
                if held.status == psutil.CONN_LISTEN or (stranger and await asyncio.to_thread(answers, held.laddr)):
                    found.append(str(held))
        await asyncio.sleep(0.02)
    assert seen, "the daemon's connection to its broker at least"
    return found


def answers(address: tuple[str, int]) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.settimeout(0.2)
        try:
            stranger.sendto(b"hello", ("127.0.0.1" if address[0] == "0.0.0.0" else address[0], address[1]))
            return bool(stranger.recv(100))
        except OSError:
            return False


def test_a_user_that_cannot_be_had_is_said(open_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no user 'nemo'. To make one: useradd --system nemo"):
        settle("nemo", open_path)


@AS_ROOT
def test_a_user_that_cannot_reach_its_state_is_said(open_path: Path, tmp_path: Path) -> None:
    shut = open_path / "shut"
    shut.mkdir(mode=0o700)
    site = Site(tmp_path)
    configure(site, shut / "agent")
    with start(shut / "agent", "--user", "nobody") as running:
        assert running.stderr
        said = running.stderr.read()
        assert running.wait() == 2
    assert said.startswith(
        f"segwatch agent: the user 'nobody' cannot reach {shut}/agent: some directory above it is closed"
    )


@AS_ROOT
def test_files_of_others_stay_theirs(open_path: Path) -> None:
    """An agent that was taken over may have left links for the next start as root."""
    other = open_path / "other"
    other.write_text("root's")
    state = open_path / "state"
    state.mkdir()
    (state / "soft").symlink_to(other)
    (state / "hard").hardlink_to(other)
    (state / "own").write_text("the agent's")
    code = f"from agent.privileges import settle; from pathlib import Path; settle('nobody', Path({str(state)!r}))"
    subprocess.run([sys.executable, open_to_all.__file__, sys.executable, "-c", code], check=True)
    assert (other.stat().st_uid, (state / "own").stat().st_uid) == (0, NOBODY)


@pytest.mark.parametrize("alone", [False, True], ids=["host", "one-user-namespace"])
def test_check_tries_what_both_hold(open_path: Path, alone: bool) -> None:
    enter = ["unshare", "-Urn"] if alone else []
    done = subprocess.run(
        [*enter, sys.executable, "-c", SHOWN, str(open_path)], capture_output=True, text=True, check=True
    )
    netlink, raw, user, privileges, sandbox, files = done.stdout.splitlines()
    assert "AF_NETLINK" in netlink
    if alone:
        assert "root (0), packet child the same: the only one that is mapped into this namespace" in user
    elif os.geteuid() == 0:
        assert "To give it a user of its own: useradd --system segwatch" in user
    if alone or os.geteuid() == 0:
        assert "CAP_NET_RAW: it can witness" in raw
        assert "daemon none, packet child CAP_NET_RAW; neither can gain any" in privileges
    assert "starts no program and offers no service" in sandbox
    assert ("(Landlock)" if LANDLOCK else "no Landlock: ") in files
    for line in (privileges, sandbox, files):
        assert "lacks=()" in line


# As in the agent's unit: ProtectProc=invisible. A process sees those alone that it may trace.
HIDDEN = """
mount -t proc -o hidepid=invisible proc /proc
exec setpriv --reuid nobody --regid nogroup --clear-groups --inh-caps +net_raw --ambient-caps +net_raw "$@"
"""


@AS_ROOT
def test_check_says_what_the_packet_child_holds_where_proc_hides_it(open_path: Path) -> None:
    alone = ("unshare", "--mount", "--pid", "--fork", "--kill-child", sys.executable, open_to_all.__file__)
    hidden = ("sh", "-euc", HIDDEN, "sh", sys.executable, "-c", SHOWN, str(open_path))
    done = subprocess.run([*alone, *hidden], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    _, _, user, privileges, _, _ = done.stdout.splitlines()
    assert user == "Line(what='user', holds='nobody (65534), packet child the same', lacks=())"
    assert "packet child CAP_NET_RAW" in privileges
