"""`make packages`: segwatch-agent and segwatch-coordinator as Debian packages, in dist/, for this machine's release.

The agent's carries /usr/lib/segwatch, a venv of Debian's own Python with what requirements.agent.lock names. The
coordinator's depends on it and adds to the same venv what requirements.lock names beyond that: both on one host are one
segwatch. Units and users are the texts that `segwatch install` writes (cli/install/units.py). docs/decisions/037.
"""

from __future__ import annotations

import email.utils
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath

from cli.install import units
from cli.parts import PACKAGED_VENV

ROOT = Path(__file__).parents[2]
HERE, MADE, WORK = ROOT / "deploy/debian", ROOT / "dist", ROOT / "build/packages"
PLACE = PACKAGED_VENV.relative_to("/")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
PYTHON = Path("/usr/bin/python3")  # Debian's, whatever stands before it on PATH
PROGRAM = f"""\
#!{PACKAGED_VENV}/bin/python3
import sys

from cli.main import main

sys.exit(main())
"""
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
MAINTAINER = os.environ.get("DEBEMAIL", "segwatch <segwatch@localhost>")  # who hands them out says who they are
SCRIPTS = ("postinst", "prerm", "postrm")


def main() -> None:
    """Both, anew."""
    shutil.rmtree(WORK, ignore_errors=True)
    MADE.mkdir(exist_ok=True)
    if not PYTHON.exists():
        raise SystemExit(
            f"make packages: there is no {PYTHON}: the packages are for Debian's own Python. apt install python3"
        )
    environment = WORK / "venv" / PLACE
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", environment], check=True)
    _install(environment, "requirements.agent.lock")
    _install_segwatch(environment)
    agent = _settled(environment)
    _install(environment, "requirements.lock")
    both = _settled(environment)
    if changed := sorted(str(path) for path in agent if both.get(path) != agent[path]):
        raise SystemExit(
            f"make packages: requirements.lock changes what requirements.agent.lock brought: {changed[:3]}"
        )
    _package("segwatch-agent", environment, {*agent}, _of_agent())
    _package("segwatch-coordinator", environment, both.keys() - agent.keys(), _of_coordinator())


def _of_agent() -> dict[PurePosixPath, str]:
    program = f"{PACKAGED_VENV}/bin/segwatch"
    return {
        units.PACKAGED[units.UNITS] / f"{units.AGENT}.service": units.agent(program),
        units.PACKAGED[units.USERS] / f"{units.AGENT_USER}.conf": units.sysusers(units.AGENT_USER, "segwatch agent"),
    }


def _of_coordinator() -> dict[PurePosixPath, str]:
    program, user = f"{PACKAGED_VENV}/bin/segwatch", units.COORDINATOR_USER
    return {
        units.PACKAGED[units.UNITS] / f"{units.COORDINATOR}.service": units.coordinator(program, low_ports=False),
        units.PACKAGED[units.UNITS] / f"{units.VERIFY}.service": units.verify(program),
        units.PACKAGED[units.UNITS] / f"{units.VERIFY}.timer": units.timer("hourly"),
        units.PACKAGED[units.USERS] / f"{user}.conf": units.sysusers(user, "segwatch coordinator"),
        units.PACKAGED[units.OWNERS] / f"{user}.conf": units.owned(units.CONFIGURATION / "pki", user),
    }


def _install(environment: Path, lock: str) -> None:
    """What a lock file names, by its hashes; no more than wheels, so that nothing is built here."""
    install = ("--python", environment / "bin/python3", "install", "--no-compile", "--only-binary", ":all:")
    subprocess.run([*PIP, *install, "--require-hashes", "-r", ROOT / lock], check=True)


def _install_segwatch(environment: Path) -> None:
    wheels = WORK / "wheels"
    subprocess.run([*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, ROOT], check=True)
    install = ("--python", environment / "bin/python3", "install", "--no-compile", "--no-index", "--no-deps")
    subprocess.run([*PIP, *install, "--find-links", wheels, "segwatch"], check=True)


def _settled(environment: Path) -> dict[Path, str]:
    """Its files as they are packaged, with what is in each: no path of this machine, compiled for everybody to read."""
    bin_directory = environment / "bin"
    for path in bin_directory.iterdir():  # programs of dependencies; each begins with the path of this directory
        if not path.is_symlink() and path.name not in {"segwatch", "nats-server"}:
            path.unlink()
    (bin_directory / "segwatch").write_text(PROGRAM)
    configured = environment / "pyvenv.cfg"
    kept = [line for line in configured.read_text().splitlines(keepends=True) if not line.startswith("command")]
    configured.write_text("".join(kept))
    inside = ("-s", str(environment), "-p", str(PACKAGED_VENV))
    compile_all = ("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", *inside, environment / "lib")
    subprocess.run([environment / "bin/python3", "-P", *compile_all], check=True)
    files = (path for path in environment.rglob("*") if path.is_symlink() or path.is_file())
    return {path.relative_to(environment): _digest(path) for path in files}


def _digest(path: Path) -> str:
    content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
    return hashlib.sha256(content).hexdigest()


def _package(name: str, environment: Path, files: set[Path], texts: dict[PurePosixPath, str]) -> None:
    tree = WORK / name
    for path in sorted(files):
        target = tree / PLACE / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(environment / path, target, follow_symlinks=False)
    for place, text in texts.items():
        _write(tree / place.relative_to("/"), text)
    if name == "segwatch-agent":
        (tree / "usr/bin").mkdir(parents=True)
        (tree / "usr/bin/segwatch").symlink_to("../lib/segwatch/bin/segwatch")
    _write(tree / f"usr/share/lintian/overrides/{name}", (HERE / name / "lintian-overrides").read_text())
    documents = tree / "usr/share/doc" / name
    _write(documents / "copyright", (HERE / "copyright").read_text())
    for document, text in (("changelog.gz", _changelog(name)), ("NEWS.gz", (ROOT / "CHANGELOG.md").read_text())):
        (documents / document).write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    _control(name, tree)
    programs = {*(tree / PLACE / "bin").glob("*"), *(tree / "DEBIAN" / script for script in SCRIPTS)}
    for path in tree.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path in programs else 0o644)
    build = ("dpkg-deb", "--root-owner-group", "-Zxz", "-z3", "--build", tree, MADE)
    subprocess.run(build, env={**os.environ, "SOURCE_DATE_EPOCH": str(_date())}, check=True)


def _control(name: str, tree: Path) -> None:
    """DEBIAN/: what dpkg is told."""
    held = [path for path in sorted(tree.rglob("*")) if path.is_file() and not path.is_symlink()]
    sums = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n" for path in held]  # noqa: S324
    major, minor, *_ = _said(str(PYTHON), "-c", "import sys; print(*sys.version_info)").split()
    values = {
        "VERSION": VERSION,
        "ARCHITECTURE": _said("dpkg", "--print-architecture"),
        "MAINTAINER": MAINTAINER,
        "SIZE": str(sum(path.stat().st_size for path in held) // 1024),
        "PYTHON": f"python3 (>= {major}.{minor}), python3 (<< {major}.{int(minor) + 1})",
    }
    control = (HERE / name / "control").read_text()
    for key, value in values.items():
        control = control.replace(f"@{key}@", value)
    _write(tree / "DEBIAN/control", control)
    _write(tree / "DEBIAN/md5sums", "".join(sums))
    for script in SCRIPTS:
        _write(tree / "DEBIAN" / script, (HERE / name / script).read_text())


def _changelog(name: str) -> str:
    """As dpkg has it; what has changed is in NEWS."""
    date = email.utils.formatdate(_date(), localtime=False)
    return f"{name} ({VERSION}) unstable; urgency=medium\n\n  * See NEWS.gz.\n\n -- {MAINTAINER}  {date}\n"


def _date() -> int:
    """The last commit's, in seconds, so that the same commit makes the same packages."""
    command = ["git", "log", "-1", "--format=%ct"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return int(done.stdout.strip() or os.environ.get("SOURCE_DATE_EPOCH", "0"))


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    main()
