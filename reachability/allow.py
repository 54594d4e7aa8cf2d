"""What this host's owner lets the agent touch, whoever asks: networks allowed and denied, hours without probing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from reachability.blackout import active_blackout
from reachability.topology import Blackout, Network


@dataclass(frozen=True, slots=True)
class AllowList:
    """Refuses every address that is not in `allow`, or is in `deny`, and everything in a blackout."""

    allow: tuple[Network, ...]
    deny: tuple[Network, ...] = ()
    blackout: tuple[Blackout, ...] = ()

    @classmethod
    def of(cls, allow: Iterable[str], deny: Iterable[str] = (), blackout: Iterable[Blackout] = ()) -> AllowList:
        """From the networks and addresses of a configuration."""
        return cls(tuple(map(ip_network, allow)), tuple(map(ip_network, deny)), tuple(blackout))

    def refuses(self, address: str) -> str:
        """Why a packet must not be sent to the address; "" when it may."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return f"'{address}' is not an address"
        # The kernel would send IPv4, past the rules for that.
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
            return f"{address} is an IPv4-mapped IPv6 address"
        broadcast = isinstance(parsed, IPv4Address) and parsed == IPv4Address(0xFFFFFFFF)
        if parsed.is_multicast or parsed.is_unspecified or broadcast:
            return f"{address} is not one host's address"
        if denied := self.denies(address):
            return denied
        if not any(parsed in network for network in self.allow):
            return f"{address} is in no network that this agent's configuration allows"
        return ""

    def denies(self, address: str) -> str:
        """Why the address must not be touched, even where the configuration itself names it; "" when it may."""
        parsed = ip_address(address)
        denied = next((network for network in self.deny if parsed in network), None)
        return "" if denied is None else f"{address} is in {denied}, which this agent's configuration denies"

    def refuses_now(self, now: datetime) -> str:
        """Why nothing must be probed at this moment (an aware time); "" when it may."""
        if window := active_blackout(self.blackout, now):
            return f"this agent's configuration has a blackout now: '{window.cron}' {window.timezone}"
        return ""
