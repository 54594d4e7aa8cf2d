"""Readings of the counters: in the order in which they were taken, given to whoever awaits them, in a thread that ends."""

from __future__ import annotations

import threading

from probes.witness.readings import repeat


def test_a_thread_repeats_its_work_until_it_is_told_not_to() -> None:
    enough, done, threads = threading.Event(), [], set()

    def work() -> None:
        threads.add(threading.current_thread())
        done.append(1)
        if len(done) == 3:
            enough.set()

    stop = repeat(work)
    assert enough.wait(60)
    stop()
    [thread] = threads
    thread.join(60)
    assert not thread.is_alive()
    assert thread.daemon  # it keeps no process from ending
