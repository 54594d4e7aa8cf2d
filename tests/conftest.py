"""For every test: a skipped one fails the run where everything can be had, which is as root."""

from __future__ import annotations

import os

import pytest


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Root can do all that a test needs: nothing may be skipped then."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    skipped = reporter.stats.get("skipped", [])
    if skipped and os.geteuid() == 0 and exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"{len(skipped)} skipped: as root no test may be", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
