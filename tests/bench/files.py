"""`topology check` and `plan` of files from 1,000 to 100,000 lines, beside what any tool does that checks a YAML file's form."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lab.system import SEGWATCH
from tests.bench.report import Row, table
from tests.support.paths import ROOT
from tests.support.topologies import estate_of_paths

ENVIRONMENTS, SERVICES = (4, 30, 90), 49  # of more the plan is refused
RUNS = 3
PEER = """
import json, sys, jsonschema, yaml
schema = json.load(open(sys.argv[1]))
data = yaml.load(open(sys.argv[2]), yaml.CSafeLoader)
sys.exit(any(True for _ in jsonschema.Draft202012Validator(schema).iter_errors(data)))
"""


def files() -> None:
    """Each in a process of its own; its seconds have the start of Python in them."""
    rows = []
    schema = str(ROOT / "coordinator/topology.schema.json")
    with tempfile.TemporaryDirectory() as directory:
        for environments in ENVIRONMENTS:
            text = estate_of_paths(environments, SERVICES)
            file = str(Path(directory) / f"{environments}.yaml")
            Path(file).write_text(text)
            lines = f"{text.count(chr(10)):,} lines"
            rows += [
                _timed(f"segwatch topology check, {lines}", [str(SEGWATCH), "topology", "check", file]),
                _timed(f"segwatch plan, {lines}", [str(SEGWATCH), "plan", "-f", file]),
                _timed(f"PyYAML (C) and jsonschema, {lines}", [sys.executable, "-c", PEER, schema, file]),
            ]
    table("A topology of many lines", rows)


def _timed(name: str, command: Sequence[str]) -> Row:
    row, highest = Row(name, [], []), 0
    for _ in range(RUNS):
        began = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        row.seconds.append(time.monotonic() - began)
        row.wrong.append(int(process.returncode != 0))
        highest = max(highest, used.ru_maxrss)
    row.note = f"{highest / 1024:.0f} MiB at most"
    return row
