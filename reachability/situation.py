"""What would settle a cell, chosen from all that is known: of its agent, its topology and its run, then by its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reachability.advice import Advice, advise
from reachability.compare import Cell
from reachability.topology import Environment, Topology, is_anothers
from reachability.uncontrolled import RULE
from reachability.vocabulary import Reason, Result, Unproven

MOST_SHOWN = 4  # addresses or networks
_MAY_BE_ITS_ADDRESS = frozenset({Reason.LOCAL_ERROR, Unproven.NOT_SENT, Reason.NO_ROUTE})


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFacts:
    """What is known of an agent."""

    state: str = "connected"  # connected, lost, missing (never heard of) or revoked
    reported: tuple[str, ...] = ()  # addresses of its host
    lacks: str = ""  # why it has no packet socket, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known beside the cells. `in_run`: a verify run says it, and does not advise to run one."""

    topology: Topology
    agents: Mapping[str, AgentFacts] = field(default_factory=dict)
    in_run: bool = False
    blackout: str = ""  # a window is open, in words

    def settled(self, cell: Cell) -> Advice | None:
        """As `advise`, with names and commands: what it tells is about this cell."""
        advice = advise(cell)
        if advice is None or not (cell.required or cell.result is Result.NOT_RUN):
            return advice
        return self._by_agent(cell) or self._by_schedule(cell) or self._by_reason(cell) or _named(advice, cell)

    def _by_agent(self, cell: Cell) -> Advice | None:
        """What is the matter with the agent itself, where that may be why."""
        name, environment = cell.key.agent, self.topology.environments.get(cell.source_environment)
        facts = self.agents.get(name)
        untried = cell.result in {Result.NOT_RUN, Result.STALE}
        if facts is None or environment is None or not (untried or _reason(cell) in _MAY_BE_ITS_ADDRESS):
            return None
        match facts.state:
            case "revoked":
                settle = f"issue a new bundle with `segwatch pki agent {name}`, and install it on its host"
                return Advice(f"every certificate of agent {name} is revoked", settle)
            case "missing":
                settle = f"start it: `segwatch agent --bundle {name}.tar`; `segwatch agent --check` on its host says what it lacks"
                return Advice(f"agent {name} has never connected", settle)
            case "lost":
                settle = "see on its host whether it runs; `segwatch agent --check` there says what it lacks"
                return Advice(f"agent {name} is not connected", settle)
        return self._by_address(cell, environment, facts)

    def _by_address(self, cell: Cell, environment: Environment, facts: AgentFacts) -> Advice | None:
        name, declared = cell.key.agent, environment.agents.get(cell.key.agent)
        if declared is None:
            return None
        has = [address for address in facts.reported if is_anothers(address)]
        place = f"{self.topology.file}:{declared.mark.line}"
        if cell.key.source_address in declared.addresses and has and cell.key.source_address not in has:
            better = [address for address in has if environment.contains(address)] or has
            means = (
                f"{cell.key.source_address} is declared for {name}, and its host does not have it: it has {_some(has)}"
            )
            return Advice(means, f"give the host that address, or correct {place}: addresses: [{_some(better)}]")
        if not declared.addresses and not any(map(environment.contains, has)):
            if not has:
                means = f"agent {name} has reported no address that others can reach"
                return Advice(
                    means, f"declare its addresses at {place}; `segwatch agent --check` on its host shows what it has"
                )
            networks = _some([str(network) for network in environment.networks])
            means = f"the host of {name} has {_some(has)}, which is in no network of '{environment.name}' ({networks})"
            at = f"{self.topology.file}:{environment.mark.line}"
            return Advice(
                means, f"add the network of {has[0]} at {at}, or declare {name} in the environment that has it"
            )
        return None

    def _by_schedule(self, cell: Cell) -> Advice | None:
        if cell.result is not Result.NOT_RUN:
            return None
        if self.blackout:
            settle = "wait until it is over, or `segwatch verify --in-blackout --reason TEXT`, which is recorded"
            return Advice(f"no round has tried it, and {self.blackout}", settle)
        if self.in_run:
            settle = "the coordinator's log says why; --from and --to make a run shorter"
            return Advice("the run ended before a round had tried it", settle)
        return None

    def _by_reason(self, cell: Cell) -> Advice | None:
        advice, name = advise(cell), cell.key.agent
        if advice is None or cell.result is not Result.INCONCLUSIVE:
            return None
        facts = self.agents.get(name, AgentFacts())
        match _reason(cell):
            case Unproven.NO_SOURCE_CONTROL:
                protocol = cell.key.protocol
                settle = (
                    f"let the agents of {cell.source_environment} through to the coordinator with {RULE[protocol]}, or declare "
                    f"what else the firewall lets them reach over {protocol.value.upper()} on a host with an agent"
                )
                return Advice(
                    f"not one {protocol.value.upper()} packet of this agent was shown to leave its environment", settle
                )
            case Reason.NOT_ALLOWED:
                settle = f"add {cell.key.address} to `allow` in the configuration of {name}, or issue it a new bundle"
                return Advice(f"the own allow-list of {name} does not hold {cell.key.address}", settle)
            case Reason.NO_PERMISSION:
                means = f"{name} may not open a packet socket" + (f": {facts.lacks}" if facts.lacks else "")
                settle = f"grant {name} CAP_NET_RAW (AmbientCapabilities= in its unit); `segwatch agent --check` there shows it"
                return Advice(means, settle)
            case Reason.LOCAL_ERROR:
                return Advice(
                    advice.means,
                    f"`segwatch agent --check` on the host of {name} says what works there",
                )
        return None


def _reason(cell: Cell) -> str:
    return cell.judged.verdict.reason if cell.judged is not None else ""


def _some(texts: list[str]) -> str:
    return ", ".join(texts[:MOST_SHOWN]) + (", …" if len(texts) > MOST_SHOWN else "")


def _named(advice: Advice, cell: Cell) -> Advice:
    """What a sentence points at, by its name."""
    settle = advice.settle.replace("on that host", f"on {cell.key.address}").replace(
        "on this host", f"on {cell.key.address}"
    )
    return Advice(advice.means, settle.replace("in that environment", f"in {cell.key.destination}"))
