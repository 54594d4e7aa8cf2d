"""`segwatch stop` in the middle of a sweep at full rate: when the last packet left, by the router's clock and counters."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest

from lab.estate import Estate
from lab.system import HANGS_S, System
from tests.lab import lastpacket
from tests.lab.pair import AGENTS, DEV, PROD, deployed, scene

pytestmark = pytest.mark.lab

COUNTED = f"table inet seen {{ chain f {{ type filter hook prerouting priority -5; ip saddr {DEV} ip daddr {PROD} counter\n}}\n}}\n"
MANY = 10_000


def counter(estate: Estate) -> Callable[[], int]:
    """How many packets the router's kernel has seen from dev's agent to prod's host."""
    estate.nft("router", COUNTED)

    def read() -> int:
        found = re.search(r"packets (\d+)", estate.run("router", ["nft", "list", "table", "inet", "seen"]).stdout)
        assert found
        return int(found[1])

    return read


def wait_until_confirmed(system: System) -> None:
    system.wait_for(
        lambda: {agent["stop"] for agent in system.api("status")["agents"]} == {"confirmed"}, "the agents' word"
    )


def stop(system: System) -> float:
    """Stop all probing; when the coordinator was told, seconds since the epoch."""
    done = system.cli("stop", "--reason", "maintenance", "--by", "olga", "--state-dir", "state").check()
    said, confirmed, *_ = done.stdout.splitlines()
    assert said == "All probing is stopped: maintenance. To go on: segwatch resume"
    assert confirmed.endswith(f" of {len(AGENTS)} agents")
    wait_until_confirmed(system)
    return datetime.fromisoformat(system.api("status")["stopped_at"]).timestamp()


def test_a_sweep_at_full_rate_ends_within_a_second_and_nothing_leaves_until_it_is_resumed() -> None:
    drawn = scene(1, rate_pps=20_000)
    with Estate(replace(drawn.plan, rules=())) as estate:
        system, seen = deployed(estate, drawn), counter(estate)
        system.wait_for(lambda: system.connected() >= set(AGENTS), "the agents")
        found: list[tuple[int, dict[str, object]]] = []
        sweep = threading.Thread(target=lambda: found.append(system.verify("--sweep", "--from", "dev", "--to", "prod")))
        sweep.start()
        system.wait_for(lambda: seen() > MANY, "the middle of the sweep")
        capture = estate.spawn("router", [sys.executable, lastpacket.__file__, DEV, PROD, "last"], cwd=estate.directory)
        before = seen()
        system.wait_for(lambda: seen() > before + 1000, "it to go on under the capture")
        stopped_at = stop(system)
        sweep.join(HANGS_S)
        assert found, "the verify run ends when all probing does"
        time.sleep(max(0.0, stopped_at + 2 - time.time()))
        after = seen()
        for name in ("coordinator", "dev-1"):
            system.kill(name)
        system.start_coordinator()
        system.start_agent("dev-1")
        system.wait_for(lambda: system.connected() >= set(AGENTS), "the agents, again")
        assert system.api("status")["stopped"] == "maintenance", "over a restart"
        refused = system.cli("verify", "--state-dir", "state")
        assert refused.returncode == 2
        assert "all probing is stopped since" in refused.stderr
        assert "maintenance. To go on: segwatch resume" in refused.stderr
        assert seen() == after, "nothing leaves while it is stopped"
        capture.terminate()
        count, last = (estate.directory / "last").read_text().split()
        assert int(count) > 500, "the capture saw the sweep"
        assert float(last) < stopped_at + 1.0
        code, body = found[0]
        assert code == 3, json.dumps(body)[:500]
        summary = body["summary"]
        assert isinstance(summary, dict)
        assert summary["fail"] == 0
        assert summary["not_run"] > 0
        wait_until_confirmed(system)  # by the process that was started since, too
        assert f"confirmed by {len(AGENTS)}" in system.cli("agents", "--state-dir", "state").check().stdout
        assert system.cli("resume", "--state-dir", "state").check().stdout == "Probing goes on.\n"
        assert system.cli("verify", "--from", "dev", "--to", "prod", "--state-dir", "state").returncode in {0, 3}
        assert seen() > after
        said = [(event["what"], event["by"]) for event in system.ask("history") if not event["finding"]]
        assert ("stopped", "olga") in said
