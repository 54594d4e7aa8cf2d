import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from agent.spool import Clock, Spool, SpoolError
from reachability.observation import SourceReport, WitnessReport
from wire.envelope import unpack_up
from wire.messages import Ack, Batch
from wire.topics import DownChannel


class Time:
    def __init__(self) -> None:
        self.since_boot, self.wall = 100.0, 1_000_000.0

    def clock(self, boot: str = "b1") -> Clock:
        return Clock(lambda: self.since_boot, lambda: self.wall, boot)


def report(name: str = "r", size: int = 0) -> SourceReport:
    return SourceReport(round=name, agent="dev-1", problems=("x" * size,) if size else ())


def read(spool: Spool, sequence: int) -> Batch:
    message = spool.message(sequence)
    assert message is not None
    batch = unpack_up(message)
    assert isinstance(batch, Batch)
    return batch


def test_a_batch_waits_until_it_is_acknowledged(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s")
    first = spool.put(sources=(report("a"),))
    second = spool.put(witnesses=(WitnessReport(round="a", agent="dev-1"),))
    assert (first, second) == (1, 2)
    assert read(spool, 1).sources == (report("a"),)
    assert read(spool, 2).witnesses == (WitnessReport(round="a", agent="dev-1"),)
    assert spool.acknowledge(Ack(spool="another", sequence=9)) == 0
    assert spool.acknowledge(Ack(spool=spool.id, sequence=1)) == 1
    assert spool.sequences() == (2,)
    assert spool.message(1) is None
    assert read(spool, 2).oldest == 2


def test_id_and_sequence_go_on_over_restarts_even_when_empty(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s")
    spool.put(sources=(report(),))
    spool.acknowledge(Ack(spool=spool.id, sequence=1))
    spool.close()
    again = Spool(tmp_path / "s")
    assert again.id == spool.id
    assert again.put(sources=(report(),)) == 2
    assert Spool(tmp_path / "other").id != spool.id


def test_age_is_monotonic_within_a_boot_and_survives_one(tmp_path: Path) -> None:
    time = Time()
    spool = Spool(tmp_path / "s", clock=time.clock())
    spool.put(sources=(report(),))
    time.since_boot += 5
    time.wall -= 3600  # somebody set the clock back
    assert read(spool, 1).age_s == 5
    spool.close()
    time.since_boot, time.wall = 3.0, 1_000_060.0
    assert read(Spool(tmp_path / "s", clock=time.clock("b2")), 1).age_s == 60


def test_a_full_spool_drops_the_oldest_and_counts_them(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s", most_bytes=3000)
    for index in range(5):
        spool.put(sources=(report(str(index), 900),))
    assert spool.sequences() == (3, 4, 5)
    assert spool.gap == 2
    assert read(spool, 5).oldest == 3
    spool.put(sources=(report("huge", 9000),))
    assert spool.sequences() == (6,), "the newest is kept, whatever its size"
    assert spool.gap == 5
    spool.close()
    assert Spool(tmp_path / "s").gap == 5


def test_the_highest_sequences_taken_are_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s")
    assert spool.taken(DownChannel.PLAN) == 0
    spool.take(DownChannel.PLAN, 1_800_000_000_000)
    spool.take(DownChannel.ROUND, 7)
    spool.close()
    again = Spool(tmp_path / "s")
    assert (again.taken(DownChannel.PLAN), again.taken(DownChannel.ROUND)) == (1_800_000_000_000, 7)
    assert again.taken(DownChannel.ACK) == 0


def test_kill_9_leaves_what_was_put(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from agent.spool import Spool; from reachability.observation import SourceReport\n"
        "spool = Spool(pathlib.Path(sys.argv[1]))\n"
        "for n in range(10_000):\n"
        "    print(spool.put(sources=(SourceReport(round=str(n), agent='a'),)), flush=True)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "s")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if int(line) >= 20:
                break
        os.kill(process.pid, signal.SIGKILL)
        told = int(line) if (rest := process.stdout.read().split()) == [] else int(rest[-1])
    spool = Spool(tmp_path / "s")
    assert len(spool) >= told
    assert spool.sequences() == tuple(range(1, len(spool) + 1))


def test_a_report_that_no_message_can_hold_is_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s")
    noise = os.urandom(2_500_000).hex()  # does not compress below half
    spool.put(sources=(SourceReport(round="r", agent="a", problems=(noise,)),))
    with pytest.raises(ValueError, match="larger than the"):
        spool.put(sources=(SourceReport(round="r", agent="a", problems=(noise * 2,)),))
    assert spool.sequences() == (1,)


def test_a_file_that_is_no_spool_is_said(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"not a database" * 100)
    with pytest.raises(SpoolError, match="does not open: .*Move it away"):
        Spool(tmp_path / "s")


def test_a_spool_that_cannot_write_raises(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s")
    spool._db.execute("PRAGMA query_only=ON")
    with pytest.raises(sqlite3.Error):
        spool.put(sources=(report(),))
