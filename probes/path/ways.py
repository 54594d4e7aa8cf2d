"""By which ways a target is sent to, or why nothing is."""

from __future__ import annotations

from probes.context import Station
from probes.host.routes import NoRoute
from probes.packets.route import Route
from reachability.observation import Target
from reachability.topology import Network, in_networks, is_address
from reachability.vocabulary import Reason


async def ways_to(
    station: Station, target: Target, own: tuple[Network, ...], *, own_host: bool
) -> tuple[tuple[Route, ...], Reason | None]:
    """The ways, and what is wrong with sending there; `own`: networks of the source's environment; `own_host`: may be probed."""
    if not is_address(target.address):
        return (), Reason.RESOLVE_FAILED
    found = await station.way(target.address, target.source)
    if isinstance(found, NoRoute):
        return (), found.reason
    if found[0].interface == "lo" and not own_host:
        return found, Reason.OWN_HOST
    if not found[0].next_hop and in_networks(target.address, own):
        return found, Reason.OWN_NETWORK
    return found, None
