import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from agent.losses import Clock, Drop, Losses
from agent.spool import Spool
from agent.spool_schema import SpoolError
from reachability.arrival import WitnessReport
from reachability.observation import SourceReport
from tests.support.paths import ROOT
from tests.support.spools import read
from wire.columns import encode_reports
from wire.messages import Ack, Gap


class Time:
    def __init__(self) -> None:
        self.since_boot, self.wall = 100.0, 1_000_000.0

    def clock(self, boot: str = "b1") -> Clock:
        return Clock(lambda: self.since_boot, lambda: self.wall, boot)


def report(name: str = "r", size: int = 0) -> SourceReport:
    return SourceReport(round=name, agent="dev-1", problems=("x" * size,) if size else ())


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


def gap(spool: Spool, sequence: int) -> Gap:
    batch = read(spool, sequence)
    assert (batch.sources, batch.witnesses, batch.sequence) == ((), (), sequence)
    (found,) = batch.gaps
    return found


def test_a_full_spool_folds_the_oldest_into_a_gap_that_waits_for_its_acknowledgement(tmp_path: Path) -> None:
    time = Time()
    spool = Spool(tmp_path / "s", clock=time.clock(), most_bytes=3000)
    for index in range(5):
        time.since_boot += 10
        spool.put(sources=(report(str(index), 900),))
    assert (spool.sequences(), len(spool), spool.gap, spool.untold) == ((2, 3, 4, 5), 3, 2, 2)
    assert gap(spool, 2) == Gap(first=1, last=2, reports=2, why="bytes", begun_age_s=40, ended_age_s=30)
    assert read(spool, 5).oldest == 1, "what the gap stands for is not passed over before it is told"
    spool.put(sources=(report("huge", 9000),))
    assert (spool.sequences(), spool.gap) == ((5, 6), 5), "the newest is kept, whatever its size"
    assert (gap(spool, 5).first, gap(spool, 5).reports) == (1, 5)
    spool.close()
    spool = Spool(tmp_path / "s", clock=time.clock())
    assert (spool.sequences(), spool.gap) == ((5, 6), 5)
    assert spool.acknowledge(Ack(spool=spool.id, sequence=5)) == 1
    assert (spool.sequences(), spool.gap, spool.untold) == ((6,), 5, 0)
    assert read(spool, 6).oldest == 6


def test_what_is_too_old_folds_too_and_gaps_that_touch_are_one(tmp_path: Path) -> None:
    time = Time()
    spool = Spool(tmp_path / "s", clock=time.clock(), most_age_s=100, most_bytes=3000)
    for size in (2000, 2000, 0):
        spool.put(sources=(report("r", size), report("q")), witnesses=(WitnessReport(round="r", agent="dev-1"),))
        time.since_boot += 40
    assert gap(spool, 1).why == "bytes"
    spool.tidy()
    assert spool.sequences() == (1, 2, 3), "80 s are not too old"
    time.since_boot += 21
    spool.tidy()
    assert spool.sequences() == (2, 3)
    assert gap(spool, 2) == Gap(first=1, last=2, reports=6, why="age,bytes", begun_age_s=141, ended_age_s=101)
    assert spool.put(sources=(report(),)) == 4


class Full:
    """A disk that takes no more: SQLite may not make the file longer."""

    def __init__(self, spool: Spool) -> None:
        self.db = spool._db
        (self.pages,) = self.db.execute("PRAGMA page_count").fetchone()

    def __enter__(self) -> None:
        self.db.execute(f"PRAGMA max_page_count = {self.pages}")

    def __exit__(self, *_: object) -> None:
        self.db.execute("PRAGMA max_page_count = 1000000")


def test_what_a_full_disk_did_not_take_is_a_gap_once_it_can_be_written(tmp_path: Path) -> None:
    time = Time()
    spool = Spool(tmp_path / "s", clock=time.clock())
    spool.put(sources=(report(),))
    time.since_boot += 10
    with Full(spool):
        for _ in range(3):
            with pytest.raises(sqlite3.OperationalError, match="full"):
                spool.put(sources=(report(size=100_000),))
            spool._db.execute("PRAGMA query_only=ON")  # not even a gap
            spool.lose(Drop.DISK)
            spool._db.execute("PRAGMA query_only=OFF")
            time.since_boot += 10
        assert (spool.sequences(), spool.gap, spool.untold) == ((1,), 3, 3)
    assert spool.put(sources=(report("after"),)) == 5
    assert spool.sequences() == (1, 4, 5)
    assert gap(spool, 4) == Gap(first=2, last=4, reports=3, why="disk", begun_age_s=30, ended_age_s=10)
    assert read(spool, 5).sources == (report("after"),)
    spool.lose(Drop.SIZE)
    assert spool.sequences() == (1, 4, 5, 6), "where the disk takes it, it is a gap at once"
    assert (gap(spool, 6).why, spool.gap, spool.untold) == ("size", 4, 4)


def test_a_loss_survives_a_kill_9_while_the_disk_is_full(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s")
    spool.put(sources=(report(),))
    spool._db.execute("PRAGMA query_only=ON")
    for _ in range(7):
        spool.lose(Drop.DISK)
    # What a kill leaves: nothing is closed, nothing flushed.
    again = Spool(tmp_path / "s")
    assert (again.gap, again.untold) == (7, 7)
    again.tidy()
    again.tidy()
    assert (again.sequences(), again.gap, again.untold) == ((1, 8), 7, 7)
    assert again.put(sources=(report(),)) == 9
    data = bytearray((tmp_path / "s.lost").read_bytes())
    data[512 + 20] ^= 1  # a torn write spoils one of its two slots, the newest: the one before holds
    (tmp_path / "s.lost").write_bytes(data)
    assert Losses(tmp_path / "s.lost", again.id).lost.count == 6
    assert Losses(tmp_path / "s.lost", "of another spool").lost.count == 0


def test_a_spool_of_before_there_were_gaps_goes_on(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "s") as db:
        db.executescript(
            """
            CREATE TABLE spool (id TEXT NOT NULL, gap INTEGER NOT NULL DEFAULT 0);
            CREATE TABLE batch (
                sequence INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, since_boot_s REAL NOT NULL, wall_s REAL NOT NULL,
                bytes INTEGER NOT NULL, sources BLOB NOT NULL, witnesses BLOB NOT NULL);
            CREATE TABLE taken (channel TEXT PRIMARY KEY, sequence INTEGER NOT NULL);
            INSERT INTO spool VALUES ('5b1c', 3);
            INSERT INTO taken VALUES ('plan', 9);
            """
        )
        left = encode_reports((report("old"),))
        db.execute("INSERT INTO batch VALUES (17, 'b1', 1.0, 1e6, 10, ?, ?)", (left, encode_reports(())))
    db.close()
    time = Time()
    spool = Spool(tmp_path / "s", clock=time.clock())
    assert (spool.id, spool.gap, spool.sequences()) == ("5b1c", 3, (17,))
    assert read(spool, 17).sources == (report("old"),)
    assert spool.put(sources=(report(),)) == 18


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


def test_a_spool_of_a_newer_segwatch_is_left_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "s")) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(
        SpoolError, match="of a newer segwatch: its schema version is 99, this one knows 2. Install that"
    ):
        Spool(tmp_path / "s")
    with closing(sqlite3.connect(tmp_path / "s")) as db:
        assert db.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone() == (0,)


def test_a_file_that_is_no_spool_is_said(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"not a database" * 100)
    with pytest.raises(SpoolError, match="cannot be opened: .*Move it away"):
        Spool(tmp_path / "s")


def test_a_spool_that_cannot_write_raises(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s")
    spool._db.execute("PRAGMA query_only=ON")
    with pytest.raises(sqlite3.Error):
        spool.put(sources=(report(),))


ON_A_SMALL_DISK = """
import os, sqlite3, sys
from pathlib import Path
from agent.losses import Drop
from agent.spool import Spool
from reachability.observation import SourceReport

where = Path(sys.argv[1])
ballast = where / "ballast"
ballast.write_bytes(bytes(300_000))
spool = Spool(where / "s")
report = SourceReport(round="r", agent="a", problems=("x" * 9000,))
made = kept = lost = 0
while lost < 5:
    made += 1
    try:
        spool.put(sources=(report,))
        kept += 1
    except sqlite3.Error as error:
        assert "full" in str(error), error
        spool.lose(Drop.DISK)
        lost += 1
assert (len(spool), spool.gap, spool.untold) == (kept, lost, lost)
del spool  # the kill: what follows is another process's view of the files
again = None
try:
    again = Spool(where / "s")
    assert again.gap == lost, again.gap
except Exception as error:
    assert "Free space there, and start again" in str(error), error
ballast.unlink()
again = again or Spool(where / "s")
again.tidy()
assert (len(again), again.gap, again.untold) == (kept, lost, lost)
assert again.sequences() == (*range(1, kept + 1), made), again.sequences()
print(made, kept, lost)
"""


def test_a_small_disk_that_fills_up_loses_what_it_counts(tmp_path: Path) -> None:
    mounted = 'mount -t tmpfs -o size=1m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-Urm", "sh", "-c", mounted, "sh", str(tmp_path), sys.executable, ON_A_SMALL_DISK]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    made, kept, lost = map(int, done.stdout.split())
    assert made == kept + lost > 5
