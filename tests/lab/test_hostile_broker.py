"""What a captured broker sets off, by the router's own counters: not one packet."""

from __future__ import annotations

import json
import sys

import pytest

from lab.system import CORE_HOST, System
from tests.lab import forger
from tests.lab.small import AGENTS, running, topology

pytestmark = pytest.mark.lab

# All that any agent's host sends anywhere but to the coordinator.
COUNTER = """table inet watch {
  counter probes { }
  chain forward {
    type filter hook forward priority -300;
    ip saddr { 10.10.0.10, 10.20.0.10, 10.30.0.10, 10.30.0.11 } ip daddr != 10.0.0.10 counter name probes
    ip6 saddr { fd00:10::10, fd00:20::10, fd00:30::10, fd00:30::11 } ip6 daddr != fd00::10 counter name probes
  }
}
"""


def probes(system: System) -> int:
    """Packets that the router has seen of agents so far."""
    done = system.estate.run("router", ["nft", "-j", "list", "counters", "table", "inet", "watch"]).check()
    return sum(entry["counter"]["packets"] for entry in json.loads(done.stdout)["nftables"] if "counter" in entry)


def test_what_is_played_again_or_made_up_sends_no_packet_and_shows() -> None:
    with running(text=topology(every="30d")) as system:
        system.estate.nft("router", COUNTER)
        command = [sys.executable, forger.__file__, "pki", "10.0.0.10"]
        with (system.directory / "forger.log").open("wb") as log:
            forging = system.estate.spawn(CORE_HOST, command, cwd=system.directory, stdout=log, stderr=log)
        system.wait_for((system.directory / "recording").exists, "the forger")
        system.verify("--from", "dev", "--to", "prod")
        before = probes(system)
        assert before > 500, "there was something to play again"
        (system.directory / "play").touch()
        system.wait_for((system.directory / "played").exists, "all to be played again")
        sent = json.loads((system.directory / "played").read_text())
        assert {"dev-1", "prod-1"} <= sent.keys() <= AGENTS.keys()

        def shown() -> bool:
            status = system.api("status")
            return all(agent["refusals"] >= sent.get(agent["name"], 0) for agent in status["agents"])

        system.wait_for(shown, "every attempt to be shown")  # but of acknowledgements, which may come again
        assert probes(system) == before
        assert system.verify("--from", "dev", "--to", "prod")[0] == 0, "and the coordinator is obeyed as before"
        assert probes(system) > before
        assert forging.terminate() == 0
