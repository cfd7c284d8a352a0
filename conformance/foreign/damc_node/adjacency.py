"""Adjacencies of all roles: WIRE.md sections 7 to 9."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from . import link_mac, statements, trust, wire
from .statements import Certificate
from .wire import Drop, u

if TYPE_CHECKING:
    from .node import Node, Port

ROUTERS = ("sg", "sr")
NEIGHBOURS = {
    ("sg", "sr"), ("sr", "sr"), ("sr", "sg"), ("sg", "spa"), ("spa", "sg"), ("sg", "pod"), ("pod", "sg"),
    ("scsc", "sr"), ("sr", "scsc"), ("scsc", "sg"), ("sg", "scsc"),
}  # fmt: skip
CLASS_2 = ("ls-update", "ls-ack", "db-summary", "ls-request")
ANSWER_GAP = 0.010
VERIFIED_A_SECOND = 100


def may_send(sender: str, receiver: str, kind: str) -> bool:
    """The table of section 7."""
    if (sender, receiver) not in NEIGHBOURS:
        return False
    if kind in ("hello", "echo"):
        return True
    if kind in CLASS_2:
        return sender in ROUTERS and receiver in ROUTERS
    ways = {
        "announce": ("pod", "sg"),
        "announce-reply": ("sg", "pod"),
        "auth-request": ("sg", "spa"),
        "revoke-ack": ("sg", "spa"),
        "auth-reply": ("spa", "sg"),
        "revoke": ("spa", "sg"),
    }
    if kind in ("topology", "attach-ack"):
        return sender in ROUTERS and receiver == "scsc"
    if kind in ("topology-ack", "attach"):
        return sender == "scsc" and receiver in ROUTERS
    return ways.get(kind) == (sender, receiver)


class Echo:
    """The echo of one adjacency, section 9."""

    def __init__(self, now: float, interval: float, silence: float) -> None:
        self.interval, self.silence = interval, silence
        self.sequence, self.next_at = 0, now
        self.trip: tuple[float, float] | None = None  # smoothed round trip and mean deviation, s (RFC 6298)
        self.silent_at = now
        self.alive(now)
        self.theirs = (0, 0.0)  # their newest `sent at`, and when it came
        self.delay = self.jitter = self.previous = None
        self.highest, self.came = 0, 0

    def alive(self, now: float) -> None:
        """Something came under the hop MAC: the neighbour is silent after this time and what an answer takes."""
        answer = min(self.trip[0] + 4 * self.trip[1], 1.0) if self.trip else 1.0
        self.silent_at = now + self.silence + answer

    def due(self, now: float) -> bytes | None:
        if now < self.next_at:
            return None
        self.next_at = max(self.next_at + self.interval, now + self.interval / 2)
        self.sequence += 1
        sent_at, came = self.theirs
        held = int((now - came) * 1e9) if sent_at else 0
        return wire.tlv(wire.BODY, u(self.sequence, 4) + u(int(now * 1e9), 8) + u(sent_at, 8) + u(held, 8))

    def received(self, now: float, body: bytes) -> None:
        reader = wire.Reader(body)
        sequence, sent_at, ours, held = reader.u32(), reader.u64(), reader.u64(), reader.u64()
        reader.end()
        if sequence > self.highest:
            self.came = (self.came << (sequence - self.highest) | 1) & wire.U64
            self.highest = sequence
        self.theirs = max(self.theirs, (sent_at, now))
        trip = now * 1e9 - ours - held
        if ours and trip >= 0:
            seconds = trip / 1e9
            smoothed, deviation = self.trip or (seconds, seconds / 2)
            deviation += (abs(smoothed - seconds) - deviation) / 4 if self.trip else 0
            self.trip = smoothed + (seconds - smoothed) / 8, deviation
            delay = trip / 2
            if self.previous is not None:
                self.jitter += (abs(delay - self.previous) - self.jitter) / 16
            else:
                self.jitter = 0.0
            self.previous = delay
            self.delay = delay if self.delay is None else self.delay + (delay - self.delay) / 4

    def loss_ppm(self) -> int:
        seen = min(self.highest, 64)
        return (seen - self.came.bit_count()) * 1_000_000 // seen if seen else 0


class Peer:
    """The neighbour of an adjacency that is at least two-way."""

    def __init__(self, certificate: Certificate, session: int, own_session: int, key: bytes) -> None:
        self.certificate, self.session, self.own_session, self.key = certificate, session, own_session, key
        self.counter, self.window, self.confirmed = 0, trust.Window(), False
        self.dead_at, self.echo = 0.0, None
        self.link_keys: tuple[bytes, bytes] | None = None  # of what is sent, and of what is received


class Hello:
    """A decoded hello."""

    def __init__(self, pdu: bytes) -> None:
        tlvs = wire.Tlvs(pdu, wire.HEADER.size)
        self.body = tlvs.require(wire.BODY)
        reader = wire.Reader(self.body)
        self.session = reader.nonzero()
        self.hello_ms, self.dead_ms, self.echo_ms, self.multiplier = (
            reader.u32(),
            reader.u32(),
            reader.u32(),
            reader.u8(),
        )
        self.heard = None
        if self.body[reader.at : reader.at + 1] == b"\0":
            reader.u8()
        else:
            self.heard = (reader.node(), reader.nonzero())
        reader.end()
        self.certificate = statements.certificate_of(tlvs.require(wire.CERTIFICATE))
        self.signature = wire.Reader(tlvs.require(wire.SIGNATURE)).take(64)
        tlvs.end()


class Adjacency:
    """The adjacency of one port."""

    def __init__(self, node: Node, port: Port) -> None:
        self.node, self.port = node, port
        self.state, self.since, self.flaps, self.last_down = "down", 0.0, 0, None
        self.peer: Peer | None = None
        self.verified, self.verified_in = 0, 0
        self.restart(0.0)

    # ===== time =====

    def restart(self, now: float) -> None:
        """A new session, and nobody heard in it."""
        self.session = secrets.randbelow(wire.U64) + 1
        self.peer = None
        self.heard: tuple[tuple[str, int], float] | None = None
        self.left: list[int] = []
        self.hello_at, self.hello_gap = now, self.node.seconds("retransmit_ms") / 2
        self.answer: tuple[str, int] | None = None
        self.answer_at, self.answer_gap = now, ANSWER_GAP
        self.become("down", now)

    def become(self, state: str, now: float) -> None:
        if state != self.state:
            self.state, self.since = state, now
            if state != "down":
                self.node.event("adjacency", port=self.port.name, state=state, reason=None)

    def tick(self, now: float) -> None:
        if not self.port.carrier:
            return
        if self.heard and now >= self.heard[1]:
            self.heard = None
            self.become("down", now)
        if self.peer and now >= self.peer.dead_at:
            self.take_down(now, "hello-silence")
        # Before anything came under the hop MAC the dead interval alone judges.
        if self.peer and self.peer.confirmed and (echo := self.peer.echo) and now >= echo.silent_at:
            # A node that was late itself may have unread frames: once it waits one period more.
            if now - echo.silent_at > echo.interval / 2:
                echo.silent_at = now + echo.interval
            else:
                self.take_down(now, "echo-silence")
        self.send_hellos(now)
        if self.peer and self.peer.echo and (body := self.peer.echo.due(now)):
            self.send("echo", body)

    def send_hellos(self, now: float) -> None:
        interval = self.node.seconds("hello_interval_ms")
        if self.answer and now >= self.answer_at:
            self.send_hello(self.answer)
            self.answer, self.answer_at = None, now + self.answer_gap
            self.answer_gap = min(self.answer_gap * 2, interval)
        if now >= self.hello_at:
            self.hello_gap = interval if self.peer else min(self.hello_gap * 2, interval)
            self.hello_at = now + self.hello_gap
            self.send_hello(self.named())

    def named(self) -> tuple[str, int] | None:
        if self.peer:
            return self.peer.certificate.node, self.peer.session
        return self.heard[0] if self.heard else None

    def send_hello(self, heard: tuple[str, int] | None, dead_ms: int | None = None) -> None:
        pace = self.node.pace
        body = u(self.session, 8) + u(pace["hello_interval_ms"], 4)
        body += u(pace["dead_interval_ms"] if dead_ms is None else dead_ms, 4)
        body += u(pace["echo_interval_ms"], 4) + u(pace["echo_multiplier"], 1)
        body += wire.short(heard[0]) + u(heard[1], 8) if heard else b"\0"
        certificate = self.node.keys.certificate.raw
        signature = self.node.keys.sign("damc hello v1", body + certificate)
        tlvs = wire.tlv(wire.BODY, body) + wire.tlv(wire.CERTIFICATE, certificate)
        self.port.send(wire.hop_local("hello", tlvs + wire.tlv(wire.SIGNATURE, signature)))
        self.node.count("sent", "hello")

    def send(self, kind: str, tlvs: bytes) -> bool:
        """Sends a message under the hop MAC; false where there is no adjacency."""
        if not self.peer:
            return False
        self.peer.counter += 1
        self.port.send(trust.seal(self.peer.key, self.node.id, self.peer.counter, kind, tlvs))
        self.node.count("sent", kind)
        return True

    # ===== changes =====

    def take_down(self, now: float, reason: str) -> None:
        self.note_down(now, reason)
        self.restart(now)

    def note_down(self, now: float, reason: str) -> None:
        if not self.peer:
            return
        self.flaps, self.last_down = self.flaps + 1, reason
        self.node.event("adjacency", port=self.port.name, state="down", reason=reason)
        self.peer = None
        self.state = "down"
        self.node.neighbour_down(now, self.port)

    def carrier(self, now: float, up: bool) -> None:
        self.node.event("carrier", port=self.port.name, up=up)
        if up:
            self.restart(now)
        else:
            self.take_down(now, "carrier")

    def full(self, now: float) -> None:
        self.become("full", now)
        self.node.neighbour_full(now, self.port)

    def leave(self) -> None:
        if self.peer:
            self.send_hello(self.named(), dead_ms=0)

    # ===== receipt =====

    def receive(self, now: float, kind: str, pdu: bytes) -> wire.Tlvs | None:
        """A hop-local message: its TLVs before the MAC, where it is not the adjacency's own."""
        if kind == "hello":
            self.receive_hello(now, Hello(pdu))
            return None
        if not may_send(self.port.peer_role, self.node.role, kind):
            raise Drop("wrong-role", kind)
        if not self.peer:
            raise Drop("no-adjacency", kind)
        security = trust.open_hop(pdu)
        mac = trust.hop_mac(self.peer.key, self.peer.certificate.node, security.covered)
        if not trust.hmac.compare_digest(mac, security.mac):
            raise Drop("bad-mac")
        if not self.peer.window.accept(security.counter):
            raise Drop("replayed")
        self.peer.confirmed = True
        if self.peer.echo:
            self.peer.echo.alive(now)
        tlvs = wire.Tlvs(pdu[: -wire.HOP_MAC_LEN], wire.HEADER.size)
        if kind == "echo":
            body = tlvs.require(wire.BODY)
            tlvs.end()
            if self.peer.echo:
                self.peer.echo.received(now, body)
            return None
        return tlvs

    def receive_hello(self, now: float, hello: Hello) -> None:
        sender, own = hello.certificate, (self.node.id, self.session)
        # 1 and 2: who it is, cheap checks first.
        if sender.node == self.node.id:
            raise Drop("looped" if hello.session == self.session else "duplicate-identity")
        if sender.role != self.port.peer_role or (self.node.role, sender.role) not in NEIGHBOURS:
            raise Drop("wrong-role", sender.role)
        if sender.node != self.port.name:
            raise Drop("parameter-mismatch", sender.node)
        # 3: signatures, at most so many a second.
        if int(now) != self.verified_in:
            self.verified_in, self.verified = int(now), 0
        self.verified += 1
        if self.verified > VERIFIED_A_SECOND:
            raise Drop("resource-limit", "hellos")
        self.node.verifier.certificate(sender, (sender.role,))
        self.node.verifier.signed(sender, "damc hello v1", hello.body + sender.raw, hello.signature)
        fresh = hello.heard == own
        known = self.peer is not None and self.peer.session == hello.session
        # 4: leave.
        if fresh and known and hello.dead_ms == 0:
            self.take_down(now, "neighbour-left")
            return
        # 5: parameters.
        pace = self.node.pace
        if (hello.hello_ms, hello.dead_ms) != (pace["hello_interval_ms"], pace["dead_interval_ms"]):
            raise Drop("parameter-mismatch", "intervals")
        # 6: the table.
        who = (sender.node, hello.session)
        if not fresh:
            if not self.peer:
                self.heard = who, now + hello.dead_ms / 1e3
                self.become("init", now)
            self.answer = who
        elif known:
            self.peer.dead_at = now + hello.dead_ms / 1e3
            if not self.peer.confirmed:
                self.answer = who
        elif hello.session in self.left:
            raise Drop("replayed", "a session that was left")
        else:
            self.begin(now, hello)
        self.send_hellos(now)

    def begin(self, now: float, hello: Hello) -> None:
        """Two-way with a new session of the neighbour."""
        sender = hello.certificate
        shared = self.node.keys.shared_with(sender)
        if self.peer:
            self.left.append(self.peer.session)
            self.note_down(now, "neighbour-restarted")
            if len(self.left) > 8:
                self.restart(now)
                return
        key = trust.hop_key(shared, (self.node.id, self.session), (sender.node, hello.session))
        peer = self.peer = Peer(sender, hello.session, self.session, key)
        peer.dead_at = now + hello.dead_ms / 1e3
        peer.link_keys = link_mac.link_key(key, self.node.id), link_mac.link_key(key, sender.node)
        own_ms, multiplier = self.node.pace["echo_interval_ms"], self.node.pace["echo_multiplier"]
        if own_ms and hello.echo_ms:
            silence = max(multiplier, hello.multiplier) * max(own_ms, hello.echo_ms) / 1e3
            peer.echo = Echo(now, own_ms / 1e3, silence)
        self.heard, self.answer = None, (sender.node, hello.session)
        self.answer_at, self.answer_gap = now, ANSWER_GAP
        if self.node.role in ROUTERS and sender.role in ROUTERS:
            self.become("exchange", now)
            self.node.neighbour_two_way(now, self.port)
        else:
            self.become("full", now)
            self.node.neighbour_two_way(now, self.port)
            self.node.neighbour_full(now, self.port)
