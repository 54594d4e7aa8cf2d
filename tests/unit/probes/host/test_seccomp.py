"""The filter's numbers are the kernel's, and its program is one that the kernel takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from probes.host.seccomp import REFUSED, program

GENERIC = Path("/usr/include/asm-generic/unistd.h")  # linux-libc-dev; aarch64 has these
HEADERS = [(1, GENERIC), *((0, path) for path in Path("/usr/include/x86_64-linux-gnu/asm").glob("unistd_64.h"))]
RETURN, JUMPS = 0x06, {0x15, 0x35, 0x45}


@pytest.mark.parametrize(("place", "path"), HEADERS)
def test_the_numbers_are_the_kernels(place: int, path: Path) -> None:
    theirs = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+)\s+(\d+)\s", path.read_text())}
    assert {name: theirs.get(name) for name in REFUSED} == {name: numbers[place] for name, numbers in REFUSED.items()}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_way_through_the_program_ends_in_a_return(machine: str) -> None:
    steps = list(program(machine))
    assert steps[-1][0] == RETURN
    for index, (operation, if_true, if_false, _) in enumerate(steps):
        if operation in JUMPS:
            assert index + 1 + max(if_true, if_false) < len(steps)
