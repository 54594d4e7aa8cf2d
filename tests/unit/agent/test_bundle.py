import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.bundle import MEMBERS, BundleError, read_bundle

Change = Callable[[tarfile.TarFile], None]


def member(name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = "") -> Change:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, link, len(data)
        tar.addfile(info, io.BytesIO(data))

    return add


def make(path: Path, *changes: Change, leave_out: str = "") -> Path:
    with tarfile.open(path, "w") as tar:
        for name in MEMBERS:
            if name != leave_out:
                member(name, name.encode())(tar)
        for change in changes:
            change(tar)
    return path


def test_a_bundle(tmp_path: Path) -> None:
    assert read_bundle(make(tmp_path / "b.tar")) == {name: name.encode() for name in MEMBERS}


@pytest.mark.parametrize(
    "change",
    [
        member("../evil"),
        member("/etc/passwd"),
        member("./agent.key2"),
        member("sub/agent.key"),
        member("agent.key"),  # a second one
        member("link", kind=tarfile.SYMTYPE, link="/etc/shadow", data=b""),
        member("agent.pem", kind=tarfile.LNKTYPE, link="agent.key", data=b""),
        member("device", kind=tarfile.CHRTYPE, data=b""),
        member("directory", kind=tarfile.DIRTYPE, data=b""),
        member("fifo", kind=tarfile.FIFOTYPE, data=b""),
    ],
)
def test_nothing_else_is_taken(tmp_path: Path, change: Change) -> None:
    with pytest.raises(BundleError, match="which is not a file of a bundle: nothing was unpacked"):
        read_bundle(make(tmp_path / "b.tar", change))


def test_size_is_bounded(tmp_path: Path) -> None:
    large = make(tmp_path / "b.tar", member("agent.pem", b"\0" * (1024 * 1024)), leave_out="agent.pem")
    with pytest.raises(BundleError, match="more than 1048576 bytes"):
        read_bundle(large)
    (tmp_path / "c.tar").write_bytes(b"\0" * 3_000_000)
    with pytest.raises(BundleError, match="larger than a bundle can be"):
        read_bundle(tmp_path / "c.tar")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"lacks agent\.key"):
        read_bundle(make(tmp_path / "b.tar", leave_out="agent.key"))


@pytest.mark.parametrize("data", [b"", b"hello", b"\x1f\x8b" + b"\0" * 100])
def test_what_is_no_tar_is_said(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "b.tar").write_bytes(data)
    with pytest.raises(BundleError, match="is not a bundle|lacks"):
        read_bundle(tmp_path / "b.tar")
    with pytest.raises(BundleError, match="No such file"):
        read_bundle(tmp_path / "nowhere.tar")


def test_headers_before_headers_without_end(tmp_path: Path) -> None:
    path = make(tmp_path / "b.tar")
    data = path.read_bytes()
    header = bytearray(data[:512])
    header[124:136], header[156:157] = b"00000000000\0", b"L"
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 256)
    path.write_bytes(bytes(header) * 1500 + data)
    with pytest.raises(BundleError, match="is not a bundle"):
        read_bundle(path)


def test_a_file_with_holes_is_not_taken(tmp_path: Path) -> None:
    path = make(tmp_path / "b.tar")
    data = path.read_bytes()
    header = bytearray(data[:512])
    header[156:157], header[257:265] = b"S", b"ustar  \0"
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 256)
    path.write_bytes(bytes(header) + data[512:])
    with pytest.raises(BundleError, match="which is not a file of a bundle"):
        read_bundle(path)
