"""A packet child that sends no packet: it speaks `probes.child.protocol` and misbehaves on request, by a target's last byte."""

import os
import signal
import sys
from typing import BinaryIO

from probes.child.protocol import ChildArmed, FromChild, Log, Ready, SourceDone, ToChild, Unframer, WitnessDone, frame
from reachability.arrival import WitnessReport
from reachability.observation import SourceReport
from wire.messages import Arm, Close, Go, Stop

CRASHES, HANGS, SLOW = "10.30.0.66", "10.30.0.77", "10.30.0.88"
ABOUT_TO_HANG = Log(level="info", text="about to hang")


def say(out: BinaryIO, message: FromChild) -> None:
    out.write(frame(message))
    out.flush()


def obey(order: object, out: BinaryIO) -> None:
    match order:
        case Arm():
            say(out, ChildArmed(round=order.round, ok=True))
        case Go():
            match order.targets[0].address:
                case address if address == CRASHES:
                    os._exit(3)
                case address if address == HANGS:
                    say(out, ABOUT_TO_HANG)
                    signal.pause()
                case address if address == SLOW:
                    return
            say(out, SourceDone(report=SourceReport(round=order.round, agent="dev-1", packets=os.getpid()), tail_s=1.0))
        case Close():
            say(out, WitnessDone(report=WitnessReport(round=order.round, agent="dev-1")))
        case Stop():
            sys.exit(0)


def main() -> None:
    unframer = Unframer(ToChild)  # type: ignore[arg-type]
    out = sys.stdout.buffer
    say(out, Ready(raw=True, notes=("no packets here",)))
    while data := os.read(0, 65536):
        for order in unframer.feed(data):
            obey(order, out)


if __name__ == "__main__":
    main()
