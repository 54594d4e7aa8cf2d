"""A packet child that writes every order to a file, as a line of JSON, and answers as if all had been silent.

While there is a file `hold` beside that one it sends on and on: it answers no `go`.
"""

import os
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec

from probes.child.protocol import ChildArmed, FromChild, Ready, SourceDone, ToChild, Unframer, WitnessDone, frame
from reachability.arrival import WitnessHealth, WitnessReport
from reachability.observation import Observation, SourceReport, Target
from reachability.vocabulary import Reason, State
from wire.codec import enc_hook
from wire.messages import Arm, Close, Go, Stop


def silent(target: Target) -> Observation:
    return Observation(
        target=target.id,
        source_address=target.source,
        address=target.address,
        protocol=target.protocol,
        state=State.FILTERED,
        reason=Reason.NO_RESPONSE,
        ports=target.ports,
        way="raw",
        sent=4,
    )


def main(path: Path, agent: str) -> None:
    out: BinaryIO = sys.stdout.buffer
    armed: dict[str, tuple[Target, ...]] = {}

    def say(message: FromChild) -> None:
        out.write(frame(message))
        out.flush()

    unframer = Unframer(ToChild)  # type: ignore[arg-type]
    say(Ready(raw=True))
    with path.open("ab", buffering=0) as record:
        while data := os.read(0, 65536):
            for order in unframer.feed(data):
                if not isinstance(order, Arm | Go | Close | Stop):
                    continue
                record.write(msgspec.json.encode(order, enc_hook=enc_hook) + b"\n")
                match order:
                    case Arm():
                        armed[order.round] = order.targets
                        say(ChildArmed(round=order.round, ok=True))
                    case Go() if not path.with_name("hold").exists():
                        seen = tuple(map(silent, order.targets))
                        say(SourceDone(report=SourceReport(round=order.round, agent=agent, observations=seen)))
                    case Close():
                        health = tuple(
                            WitnessHealth(address=t.address, healthy=True) for t in armed.get(order.round, ())
                        )
                        say(WitnessDone(report=WitnessReport(round=order.round, agent=agent, health=health)))
                    case Stop():
                        sys.exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
