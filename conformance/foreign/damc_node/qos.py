"""Class 4 at a router: telemetry of links and the policies of the SCSC, WIRE.md section 18."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from . import wire
from .wire import Drop, u

if TYPE_CHECKING:
    from .sr import Sr

INGRESS, TRANSIT, EGRESS, RELEASED, WITHDRAWN = 1, 2, 3, 4, 5
ACTIONS = {INGRESS: "ingress", TRANSIT: "transit", EGRESS: "egress", RELEASED: "released", WITHDRAWN: "withdrawn"}
KEPT, KEPT_UNSEEN, WINDOW, HELD = 512, 8, 8, 4096


class Policy(NamedTuple):
    label: int
    version: int
    expires_in: int
    recipient: str
    source: str
    prefix: bytes
    action: int
    next_hop: str | None


def policy_of(body: bytes) -> Policy:
    reader = wire.Reader(body)
    label, version, expires_in = reader.u32() or wire.malformed("label 0"), reader.u64(), reader.u32()
    recipient, source, prefix, action = reader.node(), reader.node(), reader.name(), reader.u8()
    if action not in ACTIONS:
        wire.malformed(f"action {action}")
    next_hop = reader.node() if action in (INGRESS, TRANSIT) else None
    reader.end()
    return Policy(label, version, expires_in, recipient, source, prefix, action, next_hop)


class Qos:
    """What an SR reports, and the policies it holds."""

    def __init__(self, node: Sr) -> None:
        self.node = node
        self.held: dict[int, tuple[Policy, float]] = {}
        self.ended: dict[int, tuple[int, bool]] = {}  # version, and whether it ended by time
        now = time.monotonic()
        self.sequence = int(now * 1e6)  # above that of a former life, as the clock is
        self.reports: dict[int, bytes] = {}
        self.sent: set[int] = set()
        self.report_at, self.resend_at, self.attempts = now, 0.0, 0
        self.seen = False
        self.counted: dict[str, tuple[float, int, int]] = {}

    # ===== time =====

    def tick(self, now: float) -> None:
        for label, (policy, expires_at) in list(self.held.items()):
            if now >= expires_at:
                del self.held[label]
                self.ended[label] = policy.version, True
        if now >= self.report_at:
            self.report_at = now + self.node.seconds("telemetry_interval_ms")
            self.make_report(now)
        self.send_reports(now)

    # ===== telemetry =====

    def scsc(self) -> bytes | None:
        attached = [s.lsa for s in self.node.database.stored.values() if s.lsa.attached and not s.lsa.purge]
        reachable = sorted(lsa.key.id[0] for lsa in attached if lsa.key.id[0] in self.node.routes)
        return reachable[0] if reachable else None

    def make_report(self, now: float) -> None:
        links = b"".join(self.link_report(now, port) for port in self.node.ports if port.peer)
        self.sequence += 1
        self.reports[self.sequence] = wire.tlv(wire.BODY, u(self.sequence, 8)) + links
        while len(self.reports) > (KEPT if self.seen else KEPT_UNSEEN):
            oldest = next(iter(self.reports))
            self.reports.pop(oldest)
            self.sent.discard(oldest)

    def link_report(self, now: float, port) -> bytes:
        echo = port.adjacency.peer.echo
        measured = echo and echo.delay is not None
        sent, received = self.rates(now, port.interface)
        loss = echo.loss_ppm() if echo else 0
        value = bytes([0x03 if measured else 0]) + wire.short(port.name) + u(loss, 4) + u(sent, 8) + u(received, 8)
        if measured:
            value += u(int(echo.delay), 8) + u(int(echo.jitter), 8)
        return wire.tlv(wire.LINK_REPORT, value)

    def rates(self, now: float, interface: str) -> tuple[int, int]:
        """Bits a second that passed an interface since the last report, sent and received."""
        for line in Path("/proc/self/net/dev").read_text().splitlines():
            name, _, numbers = line.partition(":")
            if name.strip() == interface:
                received, sent = int(numbers.split()[0]), int(numbers.split()[8])
                break
        else:
            return 0, 0
        then, sent_then, received_then = self.counted.get(interface, (now, sent, received))
        self.counted[interface] = now, sent, received
        span = max(now - then, 1e-3)
        return int((sent - sent_then) * 8 / span), int((received - received_then) * 8 / span)

    def send_reports(self, now: float) -> None:
        scsc = self.scsc()
        if scsc is None or not self.reports:
            return
        self.seen = True
        oldest = next(iter(self.reports))
        if oldest in self.sent and now >= self.resend_at:
            self.attempts += 1
            self.sent.clear()
        # While nothing is acknowledged only the oldest goes again.
        for sequence in list(self.reports)[: 1 if self.attempts else WINDOW]:
            if sequence in self.sent:
                continue
            if sequence == oldest:
                wait = self.node.seconds("retransmit_ms") * 2 ** min(self.attempts, 16)
                self.resend_at = now + min(wait, self.node.seconds("retransmit_max_ms"))
            self.sent.add(sequence)
            tlvs = self.node.keys.routed("telemetry", scsc, self.node.name, self.reports[sequence])
            self.node.send_routed(wire.Routed("telemetry", scsc, self.node.name, tlvs))

    # ===== receipt =====

    def receive(self, now: float, header: wire.Header, destination: bytes, source: bytes, pdu: bytes, at: int) -> None:
        tlvs = wire.Tlvs(pdu, at)
        body = tlvs.require(wire.BODY)
        tlvs.require(wire.CERTIFICATE)
        wire.Reader(tlvs.require(wire.SIGNATURE)).take(64)
        end = tlvs.at
        wire.finish_routed(pdu, tlvs)
        policy = policy_of(body) if header.kind == "policy" else None
        self.node.verifier.routed(header.kind, destination, source, pdu[at:end], ("scsc",))
        if policy:
            self.receive_policy(now, policy, source)
            return
        reader = wire.Reader(body)
        sequence, label, _ = reader.u64(), reader.u32(), reader.u8()
        reader.end()
        if label or self.reports.pop(sequence, None) is None:
            raise Drop("unsolicited", "qos-ack")
        self.sent.discard(sequence)
        self.attempts = 0
        if self.reports:
            self.resend_at = now + self.node.seconds("retransmit_ms")

    def receive_policy(self, now: float, policy: Policy, source: bytes) -> None:
        reason = self.refusal(now, policy)
        self.node.count("protocol", "policies_refused" if reason else "policies_accepted")
        code = wire.POLICY_REASONS[reason] if reason else 0
        body = wire.tlv(wire.BODY, u(policy.version, 8) + u(policy.label, 4) + bytes([code]))
        tlvs = self.node.keys.routed("qos-ack", source, self.node.name, body)
        self.node.send_routed(wire.Routed("qos-ack", source, self.node.name, tlvs, flow=policy.label))

    def refusal(self, now: float, policy: Policy) -> str | None:
        """Takes a policy, or says the first reason against it: the table of section 18."""
        held, label = self.held.get(policy.label), policy.label
        if policy.recipient != self.node.id or (policy.action == INGRESS and policy.source != self.node.id):
            return "malformed"
        if held:
            if policy.version < held[0].version:
                return "stale-policy"
            if (policy.source, policy.prefix) != (held[0].source, held[0].prefix):
                return "duplicate-identity"
            if policy.version == held[0].version:
                return self.unreachable(policy)
        elif label in self.ended:
            version, by_time = self.ended[label]
            if policy.version < version:
                return "stale-policy"
            if policy.version == version:
                return "policy-expired" if by_time else None
        if policy.action == WITHDRAWN:
            self.held.pop(label, None)
            self.ended[label] = policy.version, False
            return None
        if policy.expires_in == 0:
            return "policy-expired"
        if not held and len(self.held) >= HELD:
            return "policy-expired"
        self.ended.pop(label, None)
        self.held[label] = policy, now + policy.expires_in / 1e3
        return self.unreachable(policy)

    def unreachable(self, policy: Policy) -> str | None:
        port = self.node.port_of.get(policy.next_hop) if policy.next_hop else None
        return "policy-unreachable" if policy.next_hop and not (port and port.peer) else None

    # ===== forwarding =====

    def labelled_hop(self, label: int, destination: bytes) -> str | None:
        held = self.held.get(label)
        if not held or held[0].next_hop is None:
            return None
        prefix = held[0].prefix
        stored = self.node.database.stored
        exact = any(k.kind == 2 and k.id[0] == prefix and s.lsa.flags & 1 for k, s in stored.items())
        covered = destination == prefix if exact else destination.startswith(prefix)
        return held[0].next_hop if covered else None

    def fib_entries(self) -> list[dict]:
        entries = []
        for policy, _ in self.held.values():
            if policy.next_hop and not self.unreachable(policy):
                hop = {"node": policy.next_hop, "port": policy.next_hop, "weight": 1}
                entry = {
                    "prefix": wire.text_of(policy.prefix),
                    "source": "policy",
                    "cost": 0,
                    "origin": [policy.source],
                }
                entries.append(entry | {"next_hops": [hop], "label": policy.label})
        return entries

    def view(self) -> dict:
        now, rows = time.monotonic(), []
        for policy, expires_at in self.held.values():
            problem = self.unreachable(policy)
            row = {"label": policy.label, "version": policy.version, "recipient": policy.recipient}
            row |= {"source": policy.source, "prefix": wire.text_of(policy.prefix), "action": ACTIONS[policy.action]}
            row |= {"next_hop": policy.next_hop, "expires_in_ms": int((expires_at - now) * 1e3), "active": not problem}
            rows.append(row | ({"problem": problem} if problem else {}))
        return {"node": self.node.id, "policies": rows}
