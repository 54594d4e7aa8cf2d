"""Why there is no connection to the broker: in words, and whether that is the broker's own answer."""

from __future__ import annotations

import re
import socket
import ssl

from wire.dial import DIAL_S, Broker

# Codes of CONNACK, and what paho makes of them.
SERVER_UNAVAILABLE = {3, 136}  # a cluster that is coming up
NOT_AUTHORIZED = {5, 135}
_ALERT = re.compile(r"failed to receive on socket: .*?alert ([a-z ]+)")


class Refused(Exception):  # noqa: N818 - reads as what it is
    """The broker was reached and does not give what segwatch needs; trying again will not help by itself."""


def is_refusal(error: Exception, connack: object) -> bool:
    """Whether the broker says no; `connack` is the code by which it did, None where there was none."""
    if connack is not None:
        return connack not in SERVER_UNAVAILABLE
    return isinstance(error, Refused | ssl.SSLCertVerificationError)


def in_words(error: Exception, broker: Broker, connack: object) -> str:
    """What failed, for people."""
    match error:
        case _ if connack in NOT_AUTHORIZED:
            why = "it does not let this certificate in: it is revoked, or not of the topology that the broker was configured from"
        case _ if connack is not None:
            why = f"it does not let us in: {error}"
        case ssl.SSLCertVerificationError():
            why = f"its certificate is not trusted: {error.verify_message}"
        case ssl.SSLError():
            why = f"TLS fails: {error.reason or error}"
        case socket.gaierror():
            why = f"the name does not resolve: {error.strerror}"
        case TimeoutError():
            why = f"no answer within {DIAL_S:.0f} s"
        case OSError() if error.strerror:
            why = error.strerror
        case _:
            why = str(error)
    return f"{broker}: {why}"


def alert(logged: str) -> str:
    """The TLS alert in a line of paho's log, "" when there is none."""
    found = _ALERT.match(logged)
    return found[1].strip() if found else ""
