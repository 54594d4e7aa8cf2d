"""segwatch's wheel, and wheels of what it asks for made of what is installed here: bare venvs are filled without an index."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.tags import parse_tag, sys_tags
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

PIP = (sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--quiet")
# What pip writes once it has installed a wheel.
INSTALLED = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


def own_wheel(directory: Path) -> Path:
    """segwatch's wheel, built there by the backend that is installed: in a build of its own pip would fetch one."""
    built = ("wheel", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(directory), str(ROOT))
    subprocess.run([*PIP, *built], check=True)
    (wheel,) = directory.glob("segwatch-*.whl")
    return wheel


def wheelhouse(directory: Path) -> Path:
    """A directory with all that `segwatch[all]` asks for, at the versions that are installed here."""
    wheel = own_wheel(directory)
    information = zipfile.Path(wheel, "-".join(wheel.name.split("-")[:2]) + ".dist-info/")
    own = PathDistribution(information)
    for each in _asked_for(own, {"all"}, set()):
        _repack(each, directory)
    return directory


def bare_venv(directory: Path, wheels: Path, what: str) -> Path:
    """A venv with `what`, and what pip finds that it needs; its `bin`."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True)
    install = ("--python", str(directory / "bin/python"), "install", "--no-index", "--no-compile")
    subprocess.run([*PIP, *install, "--find-links", str(wheels), what], check=True)
    return directory / "bin"


def _asked_for(by: Distribution, extras: Iterable[str], known: set[str]) -> Iterator[Distribution]:
    for requirement in map(Requirement, by.requires or ()):
        wanted = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        )
        key = f"{canonicalize_name(requirement.name)}{sorted(requirement.extras)}"
        if wanted and key not in known:
            known.add(key)
            found = distribution(requirement.name)
            yield found
            yield from _asked_for(found, requirement.extras, known)


def _repack(installed: Distribution, directory: Path) -> None:
    stem = f"{canonicalize_name(installed.name).replace('-', '_')}-{installed.version}"
    lines = (installed.read_text("WHEEL") or "").splitlines()
    tags = frozenset().union(*(parse_tag(line.removeprefix("Tag: ")) for line in lines if line.startswith("Tag: ")))
    tag = next(tag for tag in sys_tags() if tag in tags)
    programs = {entry.name for entry in installed.entry_points if entry.group == "console_scripts"}
    names: list[str] = []
    with zipfile.ZipFile(directory / f"{stem}-{tag}.whl", "w") as wheel:
        for file in installed.files or ():
            name = _in_wheel(file, stem, programs)
            if name:
                wheel.write(file.locate(), name)
                names.append(name)
        (information,) = {name.partition("/")[0] for name in names if name.partition("/")[0].endswith(".dist-info")}
        record = f"{information}/RECORD"
        wheel.writestr(record, "".join(f'"{name}",,\n' for name in [*names, record]))


def _in_wheel(file: PurePosixPath, stem: str, programs: set[str]) -> str:
    """Where a file that is installed is in its wheel; "" for what an installer makes."""
    outside = [part for part in file.parts if part != ".."]
    made = (file.parent.name.endswith(".dist-info") and file.name in INSTALLED) or file.suffix == ".pyc"
    if made:
        return ""
    if len(outside) == len(file.parts):
        return str(file)
    if outside[0] != "bin":
        return "/".join((f"{stem}.data/data", *outside))
    return "" if file.name in programs else f"{stem}.data/scripts/{file.name}"
