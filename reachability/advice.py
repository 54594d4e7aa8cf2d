"""Why nothing is proven, in words, and what would settle it: one line per reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from reachability.compare import Cell
from reachability.vocabulary import Declared, Reachability, Reason, Result, Schedule, Unproven


@dataclass(frozen=True, slots=True)
class Advice:
    """A reason as a person would say it, and what to do about it."""

    means: str
    settle: str


# reason of a verdict -> what it means and what would settle it
ADVICE: Mapping[str, Advice] = {
    Unproven.SILENT_INSIDE: Advice(
        "the port is silent from inside its environment too: this proves nothing",
        "install an agent on that host, or narrow probing.sweep",
    ),
    Unproven.INSIDE_ONCE: Advice(
        "it answered inside before the source's packets, and nothing shows that it still did after the last of them",
        "look whether the host still runs; an inside agent of an older version asks once: upgrade it",
    ),
    Unproven.TWO_HOLDERS: Advice(
        "two processes live under the name of one agent: nobody knows from where its packets come, or what it listens to",
        "`segwatch pki revoke` that agent, then issue one new bundle with `segwatch pki agent` and install it on one host",
    ),
    Unproven.NO_INSIDE_CONTROL: Advice(
        "no agent on the host saw the packet or its absence, and none inside asked the endpoint",
        "a second agent in that environment, or one on the host itself",
    ),
    Unproven.CLOSED_INSIDE: Advice(
        "a UDP port that nobody serves stays silent whatever the firewall does",
        "an agent on that host: it sees whether the packet arrives",
    ),
    Unproven.NO_SOURCE_CONTROL: Advice(
        "not one packet of this agent was shown to leave its environment in this round",
        "let the agent reach the coordinator's port, or a resolver or time server, outside its own environment",
    ),
    Unproven.CONTROLS_STOPPED: Advice(
        "arrivals or answers stopped part-way: a ban, or a full connection table",
        "lower probing.rate_pps, or exempt the agent from the ban; the next round tries again",
    ),
    Unproven.HEARD_IN_PART: Advice(
        "a copy arrived, and the witness did not hear all: whether its host answered is not known",
        "the next round; what the witness lacks stands beside it",
    ),
    Unproven.MAYBE_DELIVERED: Advice(
        "the datagram arrived and was not answered: whether something on that host got it is not known",
        "less other UDP traffic at that host while a round runs; or see there whether the service ignores strangers",
    ),
    Unproven.MAY_BE_HANDED_ON: Advice(
        "it arrived at a host that forwards, and a container behind it may have got it (NAT)",
        "less traffic through that host while a round runs; or turn forwarding off where nothing needs it",
    ),
    Unproven.LOSS: Advice(
        "too many packets were lost for silence to mean a firewall",
        "fix the path's loss, or wait: the next round sends more copies",
    ),
    Unproven.SPREAD: Advice(
        "its copies left within less than probing.spread: a short outage may have taken them all",
        "the next round: what is silent is tried again after that time",
    ),
    Unproven.LEGS: Advice(
        "several legs lead there, and its copies were of too few flows to have tried each of them",
        "the next round: what is silent is tried again over more flows",
    ),
    Unproven.UNDECIDED: Advice(
        "packets without our mark arrived at that port: rewritten by a firewall, or somebody else's",
        "the keyed challenge of the next round; less foreign traffic to the port while it runs",
    ),
    Unproven.ANSWERS_FOR_ALL: Advice(
        "everything on that address seems open: a SYN proxy, a sidecar or a load balancer answers for it",
        "an agent on the host behind it, or a service that says something of its own",
    ),
    Unproven.ANSWERED_ELSEWHERE: Advice(
        "something else answers for that address, not the host that we know (VIP, DNAT, proxy, anycast)",
        "an agent on what answers, or declare the address where it lives",
    ),
    Unproven.NO_CANARY: Advice(
        "it answered, and nothing shows that it is the host itself that does",
        "an agent on that host, or an inside control that hears the same answer",
    ),
    Unproven.REFUSED_BY_SOMEONE: Advice(
        "without raw sockets a RST, a router's refusal and a closed port look the same",
        "grant the agent CAP_NET_RAW, or an agent on the target's host",
    ),
    Unproven.WHO_CLOSED_IT: Advice(
        "a RST came, and nothing shows whether the host or something before it sent it",
        "an agent on that host",
    ),
    Unproven.REFUSED_BY_ENDPOINT: Advice(
        "the endpoint's address refused it: the host itself, or a firewall that speaks for it",
        "an agent on that host",
    ),
    Unproven.NOT_SENT: Advice(
        "the packets did not leave the agent's host",
        "`segwatch agent --check` on it says what it lacks",
    ),
    Unproven.RESOLVED_ELSEWHERE: Advice(
        "its name leads to this address, which is in no network of the environment: nothing was sent there",
        "correct the name's records, add the network in topology.yaml, or declare the address itself",
    ),
    Reason.LOCAL_FILTER: Advice(
        "the agent's own host dropped its packets before they left",
        "let the agent out of its host's output filter",
    ),
    Reason.NO_PERMISSION: Advice(
        "the agent may not open a packet socket",
        "grant it CAP_NET_RAW (AmbientCapabilities= in its unit); `segwatch agent --check` shows it",
    ),
    Reason.NOT_ALLOWED: Advice(
        "the agent's own allow-list does not hold this target",
        "add it to `allow` in the agent's configuration, or issue a new bundle",
    ),
    Reason.OWN_NETWORK: Advice(
        "the agent's routes place this address in its own network: it cannot be another environment's",
        "correct the route, or `networks` in topology.yaml",
    ),
    Reason.OWN_HOST: Advice(
        "the address is one of the agent's own host: what is sent there crosses no boundary",
        "an agent on another host, where two environments share this one",
    ),
    Reason.RESOLVE_FAILED: Advice(
        "the name does not resolve at the agent: nothing was probed",
        "give the agent a resolver that knows the name, or write the address in topology.yaml",
    ),
    Reason.NO_ROUTE: Advice(
        "the agent's host has no route to it, and no witness saw a packet sent by its gateways",
        "a route, or an agent on the target's host",
    ),
    Reason.NO_NEIGHBOUR: Advice(
        "the next hop did not answer ARP or neighbour discovery",
        "start the host, where the way to it is direct; else look at the agent's gateway",
    ),
    Reason.LOCAL_ERROR: Advice("the probe failed on the agent's host", "the agent's log says how"),
}
_NO_ROUND = Advice("no round has tried it", "wait for the next cycle, or `segwatch verify`")
_NO_SWEEP = Advice("no sweep has tried it", "`segwatch verify --sweep`, or wait for the scheduled one")
_STALE = Advice("nothing has been heard of it for three periods", "see whether its agent runs: `segwatch dashboard`")
_BEYOND = Advice("beyond proof: needs an agent on this host", "an agent on this host")
_NO_PACKET = Advice(
    "no session can be made, but `require: no-packet` asks that no packet arrives, and nobody could see that",
    "an agent on that host",
)
_UNKNOWN = Advice("nothing was proven", "`segwatch explain` shows the evidence")


def advise(cell: Cell) -> Advice | None:
    """What would settle a cell that is neither green nor red; None for one that is."""
    match cell.result:
        case Result.PASS | Result.FAIL | Result.WAIVED:
            return None
        case Result.NOT_RUN:
            return _NO_SWEEP if cell.schedule is Schedule.SWEEP else _NO_ROUND
        case Result.STALE:
            return _STALE
        case Result.INCONCLUSIVE:
            if not cell.required and cell.declared is Declared.DENIED:
                return _BEYOND
            verdict = cell.judged.verdict if cell.judged is not None else None
            if verdict is None or verdict.reachability is not Reachability.UNKNOWN:
                return _NO_PACKET
            return ADVICE.get(verdict.reason, _UNKNOWN)
        case _:
            assert_never(cell.result)


# row of the table in docs/verdict.md -> what it says
ROWS: Mapping[int, str] = {
    1: "it answered, and the witness saw the packet arrive",
    2: "it answered, and something shows that the host itself did",
    3: "it answered, but everything on that address does",
    4: "something answered in the host's name, but the witness at that address saw nothing arrive",
    5: "a RST crossed the boundary: it is open to whatever listens there tomorrow",
    6: "the path reset it: the witness saw nothing arrive",
    7: "a RST from nearer than the host; it answers inside, and the agent's packets do get out",
    8: "a RST from as far as the host, and the port is closed inside too",
    9: "every copy was refused by the host itself, by a policy, and it arrived there",
    10: "it arrived and the host answered, but the answer did not come back",
    11: "it arrived, no socket is bound there, and the host neither said anything nor handed it on",
    12: "it arrived, no socket is bound there, and the host's stack neither missed a socket, nor delivered it, nor handed it on",
    13: "it arrived, a service is bound there and answers inside, but did not get this",
    14: "it arrived, and no answer came back",
    15: "the witness listened and saw nothing arrive, while the agent's other packets got out",
    16: "silence, while it answers inside and the agent's other packets got out",
    17: "every copy was refused on the way by a policy, over three flows or more",
    18: "nothing is proven",
}
