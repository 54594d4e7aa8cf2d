"""Why a message of an agent's is refused, in the few words that metrics count by."""

from __future__ import annotations

from enum import StrEnum

from coordinator.messaging.signers import NotBelieved
from wire.envelope import BadMessage, OtherVersion
from wire.signing import Refused


class NotTheirs(BadMessage):
    """It came on a topic, or is in a name, that is not the sender's."""


class Cause(StrEnum):
    """Why."""

    SENDER = "sender"
    VERSION = "version"
    SIGNATURE = "signature"
    CONTENT = "content"
    FAULT = "fault"  # of segwatch


def cause_of(error: Exception) -> Cause:
    """By what was raised while the message was taken."""
    match error:
        case NotTheirs():
            return Cause.SENDER
        case OtherVersion():
            return Cause.VERSION
        case NotBelieved() | Refused():
            return Cause.SIGNATURE
        case BadMessage():
            return Cause.CONTENT
        case _:
            return Cause.FAULT
