"""Protocols that no probe tries, as a sentence."""

from __future__ import annotations

from coordinator.api.responses.estate import Coverage


def sentence(body: Coverage) -> str:
    """Which; "" from a coordinator that does not say it yet."""
    if not body.not_tested:
        return ""
    names = ", ".join(name.upper() for name in body.not_tested)
    return f"not tested: {names}, and ICMP other than echo; where rules speak of these, check them at the firewall"
