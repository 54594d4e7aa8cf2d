"""The packet child: a process that does all probing and capturing, there only while there are rounds."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
from collections.abc import Callable, Sequence

from agent import child_user
from agent.journal import Log
from probes.child.protocol import Configure, FromChild, ToChild, Unframer, frame
from wire.messages import Stop
from wire.process.privileges import Capability, hand_on, mask

IDLE_S = 8.0  # after its last round; late arrivals are watched for 5 s of it
END_S = 1.0
READ_BYTES = 256 * 1024
# -P: a `probes` directory in the current one is not what is meant.
COMMAND = (sys.executable, "-P", "-m", "probes.child")
FOR_CHILD = mask(Capability.NET_RAW)


def begin() -> None:
    """Between fork and exec: its own user where there is one, and its capability."""
    child_user.become()
    hand_on(FOR_CHILD)


class PacketChild:
    """Starts the child when there is something to tell it, hands on what it says, and ends it.

    `heard` gets each of its messages, `died` a sentence when it ended without being told to, `ended` is called whenever there
    is none any more. `run` is the one task.
    """

    def __init__(
        self,
        configure: Callable[[], Configure],
        *,
        heard: Callable[[FromChild], None],
        died: Callable[[str], None],
        log: Log,
        ended: Callable[[], None] = lambda: None,
        command: Sequence[str] = COMMAND,
        idle_s: float = IDLE_S,
    ) -> None:
        self._configure, self._heard, self._died, self._log = configure, heard, died, log
        self._ended = ended
        self._command, self._idle_s = tuple(command), idle_s
        self._orders: asyncio.Queue[ToChild] = asyncio.Queue()
        self._busy = False
        self._changed = asyncio.Event()
        self._kill_at: float | None = None
        self._idle_since = 0.0
        self._ending = False
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Its process id; 0 when there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    def tell(self, order: ToChild) -> None:
        """Send it an order; it is started first when it is not there, but not to be told to stop."""
        if isinstance(order, Stop):
            self._drop_orders()
        if self.pid or not isinstance(order, Stop):
            self._orders.put_nowait(order)
            self._touch()

    def set_busy(self, busy: bool) -> None:
        """Whether a round needs it; it ends some seconds after the last did."""
        if busy != self._busy:
            self._busy = busy
            self._touch()

    def stop_within(self, seconds: float) -> None:
        """Kill it after this long, whatever it does; an order to stop gives it the chance to end in good order."""
        if self.pid:
            self._kill_at = asyncio.get_running_loop().time() + seconds
            self._changed.set()

    async def run(self) -> None:
        """Keep one child while it is needed, until cancelled; then end it."""
        while True:
            while self._orders.empty():
                self._changed.clear()
                await self._changed.wait()
            await self._one_life()

    async def _one_life(self) -> None:
        self._kill_at, self._ending = None, False
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                preexec_fn=begin,
            )
        except OSError as error:
            self._drop_orders()
            self._died(f"the packet child does not start: {error.strerror or error}")
            return
        self._process = process
        self._log.debug("packet child started", pid=process.pid)
        expected = False
        try:
            self._write(process, self._configure())
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(self._read(process), name="packet child reader")
                writer = group.create_task(self._write_orders(process), name="packet child writer")
                keeper = group.create_task(self._until_idle(), name="packet child keeper")
                await asyncio.wait({reader, keeper}, return_when=asyncio.FIRST_COMPLETED)
                expected = keeper.done() or self._kill_at is not None
                for task in (reader, writer, keeper):
                    task.cancel()
        finally:
            await self._end(process, kill=self._kill_at is not None)
            self._process = None
            self._drop_stops()
            self._ended()
        if not expected:
            self._drop_orders()
            self._died(f"the packet child ended unexpectedly with code {process.returncode}")

    async def _until_idle(self) -> None:
        """Returns when nothing has needed the child for a while, or when its time is up."""
        clock = asyncio.get_running_loop().time
        while True:
            until = math.inf if self._busy or not self._orders.empty() else self._idle_since + self._idle_s
            if self._kill_at is not None:
                until = min(until, self._kill_at)
            if clock() >= until:
                self._ending = True
                return
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(None if until == math.inf else until):
                    await self._changed.wait()

    async def _write_orders(self, process: asyncio.subprocess.Process) -> None:
        while True:
            order = await self._orders.get()
            if self._ending:  # it is for the next one
                self._orders.put_nowait(order)
                return
            self._write(process, order)
            assert process.stdin is not None
            with contextlib.suppress(ConnectionError):  # its end is seen by the reader
                await process.stdin.drain()
            if isinstance(order, Stop):  # it ends now: what comes after is for the next one
                return

    def _touch(self) -> None:
        self._idle_since = asyncio.get_running_loop().time()
        self._changed.set()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        unframer = Unframer(FromChild)  # type: ignore[arg-type]
        while data := await process.stdout.read(READ_BYTES):
            try:
                messages = unframer.feed(data)
            except ValueError as error:  # msgspec's errors are ValueErrors too
                self._log.error("the packet child is not understood", problem=str(error))
                return
            for message in messages:
                self._heard(message)  # type: ignore[arg-type]

    @staticmethod
    def _write(process: asyncio.subprocess.Process, order: ToChild) -> None:
        assert process.stdin is not None
        process.stdin.write(frame(order))

    async def _end(self, process: asyncio.subprocess.Process, *, kill: bool) -> None:
        """End of input asks it to end; it has a second for that, or none."""
        assert process.stdin is not None
        process.stdin.close()
        if kill and process.returncode is None:
            self._kill(process)
        try:
            async with asyncio.timeout(END_S):
                await process.wait()
        except TimeoutError:
            self._kill(process)
            await process.wait()
        except asyncio.CancelledError:
            self._kill(process)
            await process.wait()
            raise

    @staticmethod
    def _kill(process: asyncio.subprocess.Process) -> None:
        with child_user.taken_on():
            process.kill()

    def _drop_stops(self) -> None:
        """What it did not live to be told: it has stopped, and the next one is not started for that."""
        for _ in range(self._orders.qsize()):
            order = self._orders.get_nowait()
            if not isinstance(order, Stop):
                self._orders.put_nowait(order)

    def _drop_orders(self) -> None:
        while not self._orders.empty():
            self._orders.get_nowait()
