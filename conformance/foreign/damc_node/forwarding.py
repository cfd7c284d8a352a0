"""Forwarding and negative replies: WIRE.md sections 14 and 17."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

from . import routes, wire
from .wire import CODES, REFUSALS, ROUTED_HEADER, TRACE, UPHILL, Drop, Header, u

if TYPE_CHECKING:
    from .node import Port
    from .sr import Sr

NACKS_A_SECOND = 1000
TOLD = {
    "no-route": "no-route",
    "port-down": "no-route",
    "looped": "no-route",
    "no-such-instance": "no-such-instance",
    "hop-limit-exceeded": "hop-limit-exceeded",
    "source-not-authorised": "source-not-authorised",
    "queue-full": "overloaded",
    "oversized": "too-large",
}
WAITED_FOR = ("telemetry", "policy", "probe", "task", "path-query", "packet")


class Forwarder:
    """Decides about routed frames."""

    def __init__(self, node: Sr) -> None:
        self.node = node
        self.key = secrets.token_bytes(16)
        self.forwarded = self.delivered = 0
        self.nacks, self.nacks_in = 0, 0

    def forward(self, now: float, port: Port | None, header: Header, pdu: bytes) -> None:
        """`port` is where the frame came in, None for the node's own."""
        destination, source, at = wire.read_names(pdu)
        if port and not (port.peer and port.peer_role in ("sg", "sr", "scsc")):
            raise Drop("no-adjacency", port.name)
        route = routes.lookup(self.node.routes, destination)
        if route and route.deliver:
            self.delivered += 1
            self.node.deliver(now, header, destination, source, pdu)
            return
        try:
            self.send_on(port, header, pdu, at, destination, source, route)
        except Drop as drop:
            if drop.reason in TOLD:
                self.refuse(now, port, header, pdu, TOLD[drop.reason])
            raise

    def send_on(self, port, header: Header, pdu: bytes, at: int, destination: bytes, source: bytes, route) -> None:
        label, hop = header.label, None
        if label and not (route and route.local):  # 6
            hop = self.node.qos.labelled_hop(label, destination)
            if hop and not self.usable(hop, port):
                hop = None
        if hop is None:  # 7
            if route is None:
                raise Drop("no-route", wire.text_of(destination))
            hop = self.choose(route, port, header.flow, source)
            label = label if route.local else 0
        ahead, flags = 0, header.flags
        if label == 0 and not (route and route.local):  # 11
            if port and header.label == 0 and 0 < header.ahead <= route.cost:
                if flags & UPHILL:
                    raise Drop("looped", "came no nearer twice")
                flags |= UPHILL
            ahead = route.cost if route.cost <= 0xFFFF else 0
        limit = header.hop_limit
        if port:  # 9
            if limit <= 1:
                raise Drop("hop-limit-exceeded")
            limit -= 1
        rest = pdu[ROUTED_HEADER:]
        if port and flags & TRACE and header.kind == "data":  # 10
            recorded = wire.tlv(wire.HOP, bytes([pdu[at + 3] != 1]) + wire.short(self.node.id))
            if len(pdu) + len(recorded) <= wire.MAX_PDU:
                rest += recorded
        self.forwarded += 1
        out = Header(header.kind, flags, limit, ahead, header.flow, label)
        self.node.port_of[hop].send_routed(out.encode(len(rest)) + rest)

    def usable(self, hop: str, came_by: Port | None) -> bool:
        port = self.node.port_of.get(hop)
        return bool(port and port.carrier and port.peer and port is not came_by)

    def choose(self, route: routes.Route, came_by: Port | None, flow: int, source: bytes) -> str:
        """One of equal next hops, the same for all of a flow while it is up."""
        up = [hop for hop in route.next_hops if self.usable(hop, came_by)]
        if not up:
            back = any(self.usable(hop, None) for hop in route.next_hops)
            raise Drop("looped" if back else "port-down", wire.text_of(route.prefix))
        digest = hashlib.blake2b(u(flow, 4) + source, digest_size=8, key=self.key).digest()
        place = int.from_bytes(digest, "big")
        first = pick(route.next_hops, place)
        return first if first in up else pick({hop: route.next_hops[hop] for hop in up}, place)

    def refuse(self, now: float, port: Port | None, header: Header, pdu: bytes, reason: str) -> None:
        """Answers with a Nack what somebody waits for."""
        destination, source, at = wire.read_names(pdu)
        tlvs = wire.Tlvs(pdu, at)
        body = tlvs.require(wire.PAYLOAD)[:512] if header.kind == "packet" else tlvs.require(wire.BODY)
        request = header.kind == "data" and body[:1] == b"\1"
        if not (request or header.kind in WAITED_FOR) or len(body) > 512:
            return
        if int(now) != self.nacks_in:
            self.nacks_in, self.nacks = int(now), 0
        self.nacks += 1
        if self.nacks > NACKS_A_SECOND:
            self.node.count("protocol", "nacks_suppressed")
            return
        self.node.count("protocol", "nacks_sent")
        value = (
            bytes([REFUSALS[reason], CODES[header.kind]]) + wire.short(self.node.id) + wire.short(destination) + body
        )
        nack = wire.Routed("nack", source, self.node.name, wire.tlv(wire.BODY, value), flow=header.flow)
        self.node.send_routed(nack)


def pick(hops: dict[str, int], place: int) -> str:
    """The next hop in whose share of the weights a place lies."""
    place %= sum(hops.values())
    for hop, weight in hops.items():
        if place < weight:
            return hop
        place -= weight
    raise AssertionError("the place is below the sum of the weights")
