"""`make agent-binary`: one file that is an agent with its interpreter, its C library and what requirements.agent.lock names.

What is packed is a tree as a host has it: `bin/python`, `lib/python3.N` with its site-packages, and below `lib/` every shared
library that one of its files asks for, the C library and its loader among them. start.c unpacks and starts it.
"""

from __future__ import annotations

import argparse
import compileall
import hashlib
import lzma
import os
import py_compile
import re
import shutil
import stat
import struct
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BASE = Path(sys._base_executable).resolve()  # type: ignore[attr-defined] # noqa: SLF001 - not the venv's
PT_INTERP = 3
MAGIC = b"segwatch\1"
# Of the standard library: tests, what draws, what installs, and modules whose libraries an agent has no use for.
LEFT_OUT = (
    "test", "idlelib", "tkinter", "turtledemo", "turtle.py", "ensurepip", "lib2to3", "pydoc_data", "config-*", "venv",
    "site-packages", "dist-packages", "__pycache__", "sitecustomize.py", "EXTERNALLY-MANAGED", "*.a",
    "_tkinter.*", "_curses*", "readline.*", "nis.*", "_gdbm.*", "_dbm.*", "ossaudiodev.*",
    "_test*", "_ctypes_test.*", "xx*", "_xxtest*",
)  # fmt: skip
NOT_RUN = ("bin", "share", "include", "lib/python*/*-packages/**/tests", "lib/python*/*-packages/**/test")
# What the C library opens by itself: at the end of a thread; and for hosts whose nsswitch.conf says `compat`.
ALSO = ("libgcc_s.so.1", "libnss_compat.so.2")
_NEEDED = re.compile(r"^\s+(\S+) => (.+?)(?: \(0x[0-9a-f]+\))?$", re.MULTILINE)


def main() -> None:
    """Build it, and say what it has become."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="where the file goes")
    directory = parser.parse_args().directory
    with tempfile.TemporaryDirectory(prefix="segwatch-agent-") as made:
        tree = Path(made) / "tree"
        copy_interpreter(tree)
        version = install(tree)
        start = compile_start(Path(made))
        copy_libraries(tree)
        strip(tree)
        (tree / "bin").mkdir()
        shutil.copy(start, tree / "bin/python")
        if not compileall.compile_dir(
            tree, stripdir=tree, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
        ):
            sys.exit("agent-binary: some modules do not compile")
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / f"segwatch-agent-{version}-linux-{os.uname().machine}"
        size = pack(tree, start.read_bytes(), version, file)
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB, {size / 1e6:.1f} MB when it has unpacked itself")


def copy_interpreter(tree: Path) -> None:
    """This interpreter and its standard library, without what an agent never runs."""
    library = tree / "lib" / f"python{sysconfig.get_python_version()}"
    shutil.copytree(sysconfig.get_path("stdlib"), library, ignore=shutil.ignore_patterns(*LEFT_OUT))
    shutil.copy(BASE, tree / "lib/python")


def install(tree: Path) -> str:
    """What the lock file names, and segwatch from this checkout; segwatch's version."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    into = ["--no-compile", "--ignore-installed", "--no-warn-script-location", "--prefix", str(tree)]
    lock = ["--only-binary", ":all:", "--require-hashes", "-r", "requirements.agent.lock"]
    subprocess.run([*pip, "install", *into, *lock], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory() as made:
        wheel = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", made, "."]
        subprocess.run([*pip, *wheel], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        (file,) = Path(made).glob("*.whl")
        subprocess.run([*pip, "install", *into, "--no-index", "--no-deps", str(file)], check=True)
    look = "import os, site, sys; print(os.path.relpath(site.getsitepackages()[-1], sys.prefix))"  # Debian has another
    looked = subprocess.run([BASE, "-I", "-c", look], capture_output=True, text=True, check=True).stdout.strip()
    (tree / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages").rename(tree / looked)
    for pattern in NOT_RUN:
        for path in list(tree.glob(pattern)):
            shutil.rmtree(path, ignore_errors=True)
    for path in tree.glob("lib/python*/*-packages/*.dist-info/*"):
        if path.name in {"direct_url.json", "RECORD", "REQUESTED"}:  # paths of this machine; files that are not there
            path.unlink()
    return file.name.split("-")[1]


def compile_start(directory: Path) -> Path:
    """start.c as a program that needs no library."""
    program = directory / "start"
    options = ["-std=gnu11", "-O2", "-static", "-s", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *options, "-o", program, HERE / "start.c", "-llzma"], check=True)
    return program


def copy_libraries(tree: Path) -> None:
    """Each shared library that something in the tree asks for and the tree does not hold; the loader as lib/segwatch."""
    needed: dict[str, Path] = {}
    for file in _programs(tree):
        said = subprocess.run(["ldd", file], capture_output=True, text=True, check=True).stdout
        for name, found in _NEEDED.findall(said):
            if found == "not found":
                sys.exit(f"agent-binary: {file.relative_to(tree)} needs {name}, which is not on this machine")
            if not Path(found).resolve().is_relative_to(tree):
                needed[name] = Path(found)
    beside = needed["libc.so.6"].parent
    for name, found in {**{name: beside / name for name in ALSO}, **needed}.items():
        shutil.copy(found, tree / "lib" / name)
    loader = _interpreter(tree / "lib/python")
    shutil.copy(loader, tree / "lib/segwatch")  # what the process is called
    (tree / "lib" / Path(loader).name).unlink(missing_ok=True)
    os.link(tree / "lib/segwatch", tree / "lib" / Path(loader).name)
    if b"--argv0" not in (tree / "lib/segwatch").read_bytes():
        sys.exit(
            "agent-binary: this machine's C library is older than 2.33, whose loader cannot do it. Build on a newer one"
        )


def strip(tree: Path) -> None:
    """Debug information goes: a third of it all. What patchelf has been over (`*.libs` of wheels) stays as it is."""
    files = [file for file in _programs(tree) if not file.parent.name.endswith(".libs")]
    subprocess.run(["strip", "--strip-debug", *files], check=True)


def pack(tree: Path, start: bytes, version: str, file: Path) -> int:
    """The file: start, the archive, and where it begins; how many bytes it unpacks to. The same tree makes the same file."""
    packer, size, digest = lzma.LZMACompressor(preset=6), 0, hashlib.sha256()
    body = bytearray()
    for path in sorted(tree.rglob("*")):
        executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
        mode = (stat.S_IFDIR if path.is_dir() else stat.S_IFREG) | (0o755 if executable else 0o644)
        data = b"" if path.is_dir() else path.read_bytes()
        name = os.fsencode(path.relative_to(tree))
        entry = struct.pack("=IIQ", mode, len(name), len(data)) + name + data
        digest.update(entry)
        body += packer.compress(entry)
        size += len(data)
    body += packer.compress(struct.pack("=IIQ", 0, 0, 0)) + packer.flush()
    identity = f"{version}-{digest.hexdigest()[:16]}".encode()
    unfinished = file.with_name(f".{file.name}")
    unfinished.write_bytes(start + body + struct.pack("=40sQ16s", identity, len(start), MAGIC))
    unfinished.chmod(0o755)
    unfinished.replace(file)
    return size


def _programs(tree: Path) -> Iterator[Path]:
    for path in sorted(tree.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def _interpreter(program: Path) -> str:
    """The loader that a program asks for: the PT_INTERP of its ELF header (elf(5))."""
    data = program.read_bytes()
    (table,), (size, count) = struct.unpack_from("=Q", data, 32), struct.unpack_from("=HH", data, 54)
    for at in range(table, table + size * count, size):
        (kind,) = struct.unpack_from("=I", data, at)
        if kind == PT_INTERP:
            offset, length = struct.unpack_from("=Q", data, at + 8)[0], struct.unpack_from("=Q", data, at + 32)[0]
            return data[offset : offset + length - 1].decode()
    sys.exit(f"agent-binary: {program} is not a dynamic program")


if __name__ == "__main__":
    main()
