import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from wire.keyfiles import Exposed, check_directory, check_key, keep_private, write_private


def test_files_are_their_owners_only(tmp_path: Path) -> None:
    write_private(tmp_path / "key", b"1")
    write_private(tmp_path / "key", b"2")
    assert (tmp_path / "key").read_bytes() == b"2"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_one_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "key" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="key"):
        write_private(tmp_path / "key", b"1")
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o611, 0o644])
def test_a_key_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    key = tmp_path / "agent.key"
    write_private(key, b"1")
    check_key(key)
    key.chmod(mode)
    with pytest.raises(Exposed, match=f"^{key} can be read by others. Fix it: chmod 600 {key}$"):
        check_key(key)


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
@pytest.mark.parametrize("which", ["own", "parent"])
def test_a_directory_where_others_could_replace_a_key_is_refused(tmp_path: Path, mode: int, which: str) -> None:
    directory = tmp_path / "parent" / "own"
    directory.mkdir(parents=True)
    check_directory(directory)
    wrong = directory if which == "own" else directory.parent
    wrong.chmod(mode)
    words = f"^{wrong} can be written by others, who could replace the keys in {directory}. Fix it: chmod go-w {wrong}$"
    with pytest.raises(Exposed, match=words):
        check_directory(directory)
    wrong.chmod(0o755)
    check_directory(directory)


def test_a_sticky_directory_above_lets_nobody_replace_what_is_not_his(tmp_path: Path) -> None:
    (tmp_path / "tmp" / "own").mkdir(parents=True)
    (tmp_path / "tmp").chmod(0o1777)
    check_directory(tmp_path / "tmp" / "own")
    check_directory(tmp_path / "tmp" / "own" / "not yet there")


def test_a_link_leads_no_way_around_it(tmp_path: Path) -> None:
    (tmp_path / "open" / "own").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "open" / "own")
    check_directory(tmp_path / "link")
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(Exposed, match="open can be written by others"):
        check_directory(tmp_path / "link")


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_what_is_written_from_then_on_and_what_was_left_there_is_its_users_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    state, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    (state / "broker" / "store").mkdir(parents=True)
    left = ("store.sqlite", "store.sqlite-wal", "spool.sqlite.lost", "clock", "broker/broker.log", "broker/store/1.blk")
    for path in (elsewhere, state / "topology.yaml", *(state / name for name in left)):
        path.touch()
        path.chmod(0o644)
    (state / "lock").symlink_to(elsewhere)
    keep_private(state)
    (state / "new").touch()
    (state / "directory").mkdir()
    modes = {path.name: path.stat().st_mode & 0o777 for path in state.rglob("*") if path.is_file()}
    own = dict.fromkeys(("new", *(name.rpartition("/")[2] for name in left)), 0o600)
    assert modes == {**own, "lock": 0o644, "topology.yaml": 0o644}, (
        "a link leads nowhere, and a file of others is theirs"
    )
    assert (state / "directory").stat().st_mode & 0o777 == 0o700
    write_private(tmp_path / "ca.pem", b"1", mode=0o644)
    assert (tmp_path / "ca.pem").stat().st_mode & 0o777 == 0o644, "what others may read they can"


@pytest.mark.usefixtures("open_umask")
def test_what_a_broker_removes_meanwhile_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broker" / "a" / "gone").mkdir(parents=True)
    (tmp_path / "broker" / "b").mkdir()
    (tmp_path / "broker" / "b" / "1.blk").touch(0o644)
    scandir = os.scandir

    def late(path: str | Path) -> object:
        if Path(path).name == "gone":
            Path(path).rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", late)
    keep_private(tmp_path)
    assert (tmp_path / "broker" / "b" / "1.blk").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "broker" / "a" / "gone").exists()


@pytest.mark.usefixtures("open_umask")
@pytest.mark.parametrize("name", ["agent.key", "agent.sign", "next.key", "next.pem", "token", "metrics-token"])
def test_a_key_that_others_could_read_is_not_hidden_but_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"1")
    keep_private(tmp_path)
    with pytest.raises(Exposed):
        check_key(tmp_path / name)
