"""The end of a run: a lab test that failed is run once more, alone, in a process of its own; what was run is said.

One lost packet on a machine that others use too must not throw a day away. If the second try passes, the run is green, and
`flaky: NAME` stands before the closing line with the text of the first failure: it is the next thing to be mended. A test without
packets has no such excuse, and is never run twice. More failures than `MOST` are no accident: none is tried again then. And a
skipped test fails the run where everything can be had, which is as root.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

KINDS = {"lab", "compose"}
MOST = 5
LONGEST_S = 1200
OFF = "NO_SECOND_TRY"
"""Set in the environment, it has nothing tried again."""
FLAKY = pytest.StashKey[list[pytest.TestReport]]()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter: pytest.TerminalReporter | None = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return  # a worker: what it saw is its controller's
    if exitstatus == pytest.ExitCode.TESTS_FAILED and OFF not in os.environ:
        _try_again(session, reporter)
    skipped = reporter.stats.get("skipped", [])
    if skipped and os.geteuid() == 0 and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"{len(skipped)} skipped: as root no test may be", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _try_again(session: pytest.Session, reporter: pytest.TerminalReporter) -> None:
    """Run what failed once more; what passes is counted as passed, and kept to be told."""
    kinds = ("failed", "error")
    red = [report for kind in kinds for report in reporter.stats.get(kind, []) if isinstance(report, pytest.TestReport)]
    names = dict.fromkeys(report.nodeid for report in red if KINDS & set(report.keywords))
    if len(names) > MOST:
        return
    passed = {name for name in names if _passes_alone(session.config, reporter, name)}
    session.config.stash[FLAKY] = [report for report in red if report.nodeid in passed]
    for kind in kinds:
        if left := [report for report in reporter.stats.pop(kind, []) if report.nodeid not in passed]:
            reporter.stats[kind] = left
    counted = {report.nodeid for report in reporter.stats.get("passed", [])}
    for report in session.config.stash[FLAKY]:
        if report.nodeid not in counted:
            counted.add(report.nodeid)
            reporter.stats.setdefault("passed", []).append(report)
    if not any(kind in reporter.stats for kind in kinds):
        session.exitstatus = pytest.ExitCode.OK


def _passes_alone(config: pytest.Config, reporter: pytest.TerminalReporter, name: str) -> bool:
    """Whether the test passes in a process of its own; what that says is printed where it does not."""
    reporter.write_line(f"\nonce more, alone: {name}", yellow=True)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-q"]
    selected = ["-m", config.getoption("markexpr"), "--rootdir", str(config.rootpath), name]
    try:
        done = subprocess.run(
            [*command, *selected],
            cwd=config.invocation_params.dir,
            env={**os.environ, OFF: "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        reporter.write_line(f"it did not end within {LONGEST_S} s", red=True)
        return False
    if done.returncode != pytest.ExitCode.OK:
        reporter.write_line(done.stdout)
    return done.returncode == pytest.ExitCode.OK


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    ran: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", []):
        ran["/".join(report.nodeid.split("/")[:2])] += 1
    if ran:
        terminalreporter.write_line("ran: " + ", ".join(f"{where} {count:,}" for where, count in sorted(ran.items())))
    for report in config.stash.get(FLAKY, []):
        terminalreporter.write_sep("_", f"first try of {report.nodeid} ({report.when})")
        terminalreporter.write_line(report.longreprtext)
    for name in dict.fromkeys(report.nodeid for report in config.stash.get(FLAKY, [])):
        terminalreporter.write_line(f"flaky: {name}", yellow=True, bold=True)
