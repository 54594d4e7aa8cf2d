"""The packet child by itself, as its daemon drives it: the bare engine's time, without broker, rounds and store."""

from __future__ import annotations

import os
import secrets
import select
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lab.estate import Estate
from probes.child.protocol import (
    Bounds,
    ChildArmed,
    Configure,
    FromChild,
    Ready,
    SourceDone,
    ToChild,
    Unframer,
    WitnessDone,
    frame,
)
from reachability.arrival import WitnessReport
from reachability.observation import ControlTarget, SourceReport, Target
from reachability.ports import PortSet
from reachability.vocabulary import Protocol, RoundKind, State
from wire.messages import Arm, Close, Go

WAIT_S = 300.0
T = TypeVar("T")


class Child:
    """A packet child on a host of the lab."""

    def __init__(self, estate: Estate, host: str, rate_pps: int, drop_caps: Sequence[str] = ()) -> None:
        """`drop_caps`: capabilities that it must not have."""
        orders, self._out = os.pipe()
        self._in, answers = os.pipe()
        self._host, self._estate = host, estate
        command = [sys.executable, "-m", "probes.child"]
        with (estate.directory / f"{host}.err").open("wb") as errors:
            self.process = estate.spawn(host, command, stdin=orders, stdout=answers, stderr=errors, drop_caps=drop_caps)
        os.close(orders)
        os.close(answers)
        self._unframer = Unframer(FromChild)  # type: ignore[arg-type]
        self._heard: list[object] = []
        bounds = Bounds(allow=("0.0.0.0/0", "::/0"))
        self.tell(
            Configure(
                agent=host, rate_pps=rate_pps, flows=10**9, broker_host="10.0.0.10", broker_port=8883, bounds=bounds
            )
        )
        self.get(Ready)

    def tell(self, order: ToChild) -> None:
        """Send an order."""
        os.write(self._out, frame(order))

    def get(self, kind: type[T]) -> T:
        """The next message of a kind."""
        until = time.monotonic() + WAIT_S
        while True:
            for message in self._heard:
                if isinstance(message, kind):
                    self._heard.remove(message)
                    return message
            if not select.select([self._in], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError(f"{self._host} said no {kind.__name__}")
            data = os.read(self._in, 1 << 20)
            if not data:
                raise RuntimeError((self._estate.directory / f"{self._host}.err").read_text()[-2000:])
            self._heard += self._unframer.feed(data)

    def peak_mib(self) -> float:
        """Its highest RSS."""
        pids = self._estate.run(self._host, ["pgrep", "-f", "probes.child"]).stdout.split()
        peaks = []
        for pid in pids:
            text = self._estate.run(self._host, ["cat", f"/proc/{pid}/status"]).stdout
            peaks += [int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("VmHWM")]
        return max(peaks, default=0.0)

    def close(self) -> None:
        """End it."""
        os.close(self._out)
        os.close(self._in)


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep took and found. Seconds from the order to the report, the witnesses' tail apart."""

    seconds: float
    source: SourceReport
    witness: WitnessReport | None = None

    def ports(self, state: State) -> set[tuple[str, int]]:
        """(address, port) of every cell in a state."""
        return {(o.address, port) for o in self.source.observations if o.state is state for port in o.ports}

    def arrived(self) -> set[tuple[str, int]]:
        """(address, port) of every cell that the witness saw a copy of."""
        rows = self.witness.arrivals if self.witness else ()
        return {(row.address, port) for row in rows for port in row.ports}


def sweep(
    source: Child,
    addresses: Iterable[str],
    protocol: Protocol,
    *,
    ports: str = "1-65535",
    copies: int = 1,
    most: int = 48,
    witness: Child | None = None,
) -> Swept:
    """One round over all the addresses."""
    key, name = secrets.token_bytes(16), secrets.token_hex(8)
    targets = tuple(
        Target(
            id=number,
            environment="prod",
            address=address,
            protocol=protocol,
            ports=PortSet.parse(ports),
            source="fd00:10::10" if ":" in address else "10.10.0.10",
            witness="prod-1" if witness else "",
        )
        for number, address in enumerate(addresses, start=1)
    )
    if witness is not None:
        networks = ("10.30.0.0/24", "fd00:30::/64")
        witness.tell(
            Arm(round=name, key=key, kind=RoundKind.NORMAL, source="dev-1", targets=targets, networks=networks)
        )
        assert witness.get(ChildArmed).ok
    control = ControlTarget(address="10.0.0.10", protocol=Protocol.TCP, port=8883)
    order = Go(
        round=name,
        key=key,
        kind=RoundKind.NORMAL,
        targets=targets,
        networks=("10.10.0.0/24", "fd00:10::/64"),
        controls=(control,),
        copies=copies,
        most_copies=most,
    )
    began = time.monotonic()
    source.tell(order)
    done = source.get(SourceDone)
    seconds = time.monotonic() - began
    if witness is None:
        return Swept(seconds, done.report)
    time.sleep(done.tail_s)
    witness.tell(Close(round=name))
    return Swept(seconds, done.report, witness.get(WitnessDone).report)


LISTENERS = Path(__file__).with_name("listeners.py")
