"""A stream of a packet a millisecond through a lab, and for how long it was lost: as `outage.rs` of the suite has it.

One way, from one router's loopback address to another's, both sockets in this process. While it runs the process has
priority over the daemons, so that a busy host does not stretch what it measures; it needs a few per cent of a processor.
"""

import contextlib
import os
import socket
import struct
import threading
import time

from namespaces import within

PORT = 4242
SPACING = 0.001
# As in the suite: packets before the fault, packets in a row that end the outage, how long one may have been under way.
BEFORE, AGAIN, UNDER_WAY = 50, 60, 0.020
# Packets by which the path is found: more than anything else sends over a link meanwhile.
PATH = 100
LOOK_EVERY = 16
LIMIT = 20


@contextlib.contextmanager
def urgently():
    """Ahead of all ordinary processes; children do not inherit it."""
    # Without permission the figures are a little worse on a busy host.
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


class Probe:
    def __init__(self, wires, source, target):
        self.wires, self.ends = wires, (source, target)
        with within(wires.label[source]):
            self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sender.bind((str(wires.loopback(source)), PORT))
        with within(wires.label[target]):
            self.receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.receiver.bind((str(wires.loopback(target)), PORT))
        self.receiver.setblocking(False)
        self.to = (str(wires.loopback(target)), PORT)
        self.next = 0

    def _send(self):
        # A packet without a route at this moment is lost like any other.
        with contextlib.suppress(OSError):
            self.sender.sendto(struct.pack("Q", self.next), self.to)
        self.next += 1

    def _arrived(self):
        found = set()
        with contextlib.suppress(BlockingIOError):
            while True:
                found.add(struct.unpack("Q", self.receiver.recv(64))[0])
        return found

    def path(self):
        """Routers that the stream passes at this moment, nothing where it does not get through."""

        def stream():
            for _ in range(PATH):
                self._send()
                time.sleep(SPACING)

        found = self.wires.path(*self.ends, stream, PATH)
        self._arrived()
        return found

    def through(self, fault):
        """Has `fault` happen to the stream. For how long packets were lost, ms."""
        with urgently():
            return self._through(fault)

    def _through(self, fault):
        first, sent, arrived, cut = self.next, [], set(), []

        def happen():
            cut.append(time.monotonic())
            fault()
            cut.append(time.monotonic())

        # The fault is a system call that may block; the stream does not wait for it.
        breaker = threading.Thread(target=happen)
        due = began = time.monotonic()
        while time.monotonic() < began + LIMIT:
            due += SPACING
            time.sleep(max(0, due - time.monotonic()))
            sent.append(time.monotonic())
            self._send()
            arrived |= self._arrived()
            if breaker.ident is None and len(arrived) >= BEFORE:
                breaker.start()
            if len(cut) == 2 and len(sent) % LOOK_EVERY == 0:
                loss = lost(cut, sent, {number - first for number in arrived})
                if loss is not None:
                    return loss * 1e3
        raise TimeoutError(f"packets do not arrive {'again' if cut else 'at all'} within {LIMIT} s")


def lost(cut, sent, arrived):
    """For how long packets were lost, s, once `AGAIN` in a row that were sent after the cut have arrived."""
    newest = max((number for number in arrived if number >= 0), default=0)
    run = newest
    while run >= 0 and run in arrived:
        run -= 1
    if newest - run < AGAIN or sent[newest - AGAIN + 1] <= cut[1]:
        return None
    missing = [n for n in range(newest) if n not in arrived and sent[n] + UNDER_WAY >= cut[0]]
    return sent[missing[-1] + 1] - sent[missing[0]] if missing else 0.0
