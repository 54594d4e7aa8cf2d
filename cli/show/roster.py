"""What there is to say of an agent besides that it is there: the dashboard's line and `verify`'s."""

from __future__ import annotations

from cli.show.render import clean, plural
from coordinator.api.responses.status import Agent, Certificate

SKEW_S = 5.0  # clocks that are closer are in step
_UNCONFIRMED = {
    "not yet": "has not confirmed that all of its probing has ended",
    "unable": "cannot confirm that its probing has ended: its version is older. Upgrade it",
}
_ROTATION = {
    "unheard": "was not heard of since the CA was rotated",
    "version": "does not say which CA it trusts: its version is older. Upgrade it, or bring it a new bundle",
    "certificate": "still has a certificate of the old CA: it renews that within minutes while it runs",
    "trust": "has not said yet that it trusts the new CA",
}
_UNITS = ((3600, "h"), (60, "min"), (1, "s"))


def notes(agent: Agent) -> list[str]:
    """In words, the worst first; empty when all is well."""
    found = [f"not understood: {agent.problem}"] if agent.problem else []
    if agent.two_holders:
        found.append(
            "two processes live under its name, so that nothing of it is proven: its bundle was copied. Make it worthless by "
            f"`segwatch pki revoke {agent.name}`, then install a new one on one host"
        )
    found += [_UNCONFIRMED[agent.stop]] if agent.stop in _UNCONFIRMED else []
    if agent.lacks:
        found.append(f"lacks: {agent.lacks}")
    if agent.refusals:
        newest = f", last: {agent.refused[-1]}" if agent.refused else ""
        found.append(f"refused {plural(agent.refusals, 'message')}{newest}")
    if words := ends_soon(agent.certificate):
        found.append(f"its {words}")
    if agent.rotation in _ROTATION:
        found.append(_ROTATION[agent.rotation])
    skew_s = agent.clock_skew_s
    if skew_s is not None and abs(skew_s) >= SKEW_S:
        found.append(f"its clock is {apart(skew_s)} the coordinator's")
    found += [f"sees names otherwise: {words}" for words in agent.names_apart]
    return [clean(note) for note in found]


def ends_soon(certificate: Certificate | None) -> str:
    """`certificate ends in 9 days`; "" where there is nothing to show."""
    if certificate is None or not certificate.soon:
        return ""
    days = certificate.days
    return f"certificate ends in {plural(round(days), 'day')}" if days > 0 else "certificate has ended"


def apart(skew_s: float) -> str:
    """`10 min ahead of`, `12 s behind`."""
    seconds = abs(skew_s)
    size = next(f"{seconds / unit:.0f} {name}" for unit, name in _UNITS if seconds >= 2 * unit or unit == 1)
    return f"{size} {'ahead of' if skew_s > 0 else 'behind'}"
