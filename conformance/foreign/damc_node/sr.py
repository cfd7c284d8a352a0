"""A Service Router: WIRE.md sections 10 to 14."""

from __future__ import annotations

import time

from . import flooding, forwarding, routes, statements, wire
from .adjacency import ROUTERS
from .database import Database, Originator, attached_content, topology_content
from .node import Node, Port
from .qos import Qos
from .statements import Attachment, Key, Lsa
from .wire import Drop

LINKS_PER_FRAGMENT = 24


class Sr(Node):
    """LSDB, flooding, routes and forwarding."""

    def __init__(self, config: dict) -> None:
        super().__init__(config)
        self.database, self.originator = Database(), Originator(self)
        self.sessions: dict[str, flooding.Session] = {}
        self.attached: dict[str, Attachment] = {}  # by port: what its SCSC said last
        self.overload = False
        self.routes: dict[bytes, routes.Route] = {}
        self.fib_version, self.compute_at, self.computed_at = 0, None, 0.0
        self.qos = Qos(self)
        self.forwarder = forwarding.Forwarder(self)

    # ===== adjacencies =====

    def neighbour_two_way(self, now: float, port: Port) -> None:
        self.sessions[port.name] = flooding.Session(self, port, now)

    def neighbour_full(self, now: float, port: Port) -> None:
        self.links_changed(now, self.forming())

    def neighbour_down(self, now: float, port: Port) -> None:
        self.sessions.pop(port.name, None)
        self.attached.pop(port.name, None)
        self.state_attached(now, port)
        self.links_changed(now, False)

    def receive_attachment(self, now: float, port: Port, attachment: Attachment) -> None:
        self.verifier.attachment(attachment, int(now * 1e3))
        if (attachment.router, attachment.certificate.node) != (self.id, port.name):
            raise Drop("not-authorised", f"{attachment.certificate.node} is attached to {attachment.router}")
        port.adjacency.send("attach-ack", wire.tlv(wire.BODY, wire.u(attachment.issued_at, 8)))
        known = self.attached.get(port.name)
        if known is None or known.expires_at < attachment.expires_at:  # An earlier one may come late.
            self.attached[port.name] = attachment
            self.state_attached(now, port)

    def state_attached(self, now: float, port: Port) -> None:
        """Advertises the name of the SCSC behind a port for as long as it says that it is there."""
        attachment = self.attached.get(port.name)
        content = attached_content(port.cost, attachment.raw) if attachment else None
        self.originator.want(now, 2, (wire.node_name(self.domain, port.name), port.name), content)

    def forming(self) -> bool:
        routers = [port for port in self.ports if port.carrier and port.peer_role in ROUTERS]
        return any(port.adjacency.state in ("init", "exchange") for port in routers)

    def links_changed(self, now: float, forming: bool) -> None:
        """States the topology LSA; a new link waits a little for others that are forming."""
        at = now + 2 * self.seconds("retransmit_ms") if forming else now
        fragments = [self.ports[i : i + LINKS_PER_FRAGMENT] for i in range(0, len(self.ports), LINKS_PER_FRAGMENT)]
        flags = routes.OVERLOAD if self.overload else 0
        for number, ports in enumerate(fragments or [[]]):
            links = [(port.name, port.cost) for port in ports if port.peer and port.peer_role in ROUTERS]
            known = Key(self.id, 1, (number,)) in self.originator.own
            if links or known or (number == 0 and any(port.peer for port in self.ports)):
                self.originator.want(now, 1, (number,), topology_content(flags, links), at)
        self.routes_changed(now)

    # ===== hop-local messages =====

    def handle_local(self, now: float, port: Port, kind: str, tlvs: wire.Tlvs) -> None:
        session = self.sessions.get(port.name)
        if kind == "attach":
            attachment = statements.attachment_of(tlvs.require(wire.ATTACHMENT))
            tlvs.end()
            self.receive_attachment(now, port, attachment)
            return
        if kind == "ls-update":
            lsas = [statements.lsa_of(value) for value in tlvs.many(wire.LSA, 1)]
            tlvs.end()
            for lsa in lsas:
                self.receive_lsa(now, session, lsa)
            return
        body = tlvs.require(wire.BODY) if kind == "db-summary" else b""
        at_least = 0 if kind == "db-summary" else 1
        headers = [statements.header_of(value) for value in tlvs.many(wire.LSA_HEADER, at_least)]
        tlvs.end()
        if kind == "db-summary":
            session.page(body, headers, now)
        elif kind == "ls-request":
            for header in headers:
                if header.key in self.database.stored:
                    session.enqueue(header.key)
                else:
                    session.acks[header.key] = header._replace(sequence=0, digest=0)
        else:  # ls-ack, topology-ack
            for header in headers:
                session.acknowledged(header)
                if header.sequence == 0:
                    session.requests.pop(header.key, None)

    def receive_lsa(self, now: float, session: flooding.Session, lsa: Lsa) -> None:
        """Section 10, the steps of receipt."""
        key, header = lsa.key, lsa.header(lsa.remaining)
        held = self.database.stored.get(key)
        try:
            if lsa.remaining == 0:
                raise Drop("stale-lsa", "no time left")
            if held and lsa.version == held.lsa.version:  # 2
                self.receive_same(now, session, header)
                return
            if held and lsa.version < held.lsa.version:  # 3
                session.requests.pop(key, None)
                session.enqueue(key)
                raise Drop("stale-lsa")
            self.receive_newer(now, session, lsa)
        except Drop as drop:
            if drop.reason != "min-arrival":
                session.requests.pop(key, None)
            self.count("protocol", "lsa_refused")
            self.count("dropped", drop.reason)
            self.event("lsa-refused", **described(key), lsa_sequence=lsa.sequence, reason=drop.reason,
                       port=session.port.name)  # fmt: skip

    def receive_same(self, now: float, session: flooding.Session, header: statements.LsaHeader) -> None:
        self.count("protocol", "lsa_duplicate")
        session.requests.pop(header.key, None)
        if not session.acknowledged(header):
            session.acks[header.key] = header
        older = self.database.compare_age(header, now)
        if older > 0:
            self.database.prolong(header, now)
            self.spread(header.key, session)
        elif older < 0:
            session.enqueue(header.key)

    def receive_newer(self, now: float, session: flooding.Session, lsa: Lsa) -> None:
        key, header, own = lsa.key, lsa.header(lsa.remaining), lsa.key.origin == self.id
        held = self.database.stored.get(key)
        if held and not own and now - held.installed_at < self.seconds("lsa_min_arrival_ms"):  # 4
            raise Drop("min-arrival")
        if not self.database.has_room(lsa):  # 5
            raise Drop("resource-limit")
        self.verifier.lsa(lsa, int(now * 1e3))  # 6
        if own and not (lsa.purge and lsa.sequence == wire.U64):  # 7
            session.requests.pop(key, None)
            session.acks[key] = header
            self.originator.fight_back(now, key, lsa.sequence)
            return
        if own:
            self.originator.rest(now, key, lsa.lifetime)
        self.install(now, lsa, session)  # 8, 9
        session.acks[key] = header  # 10
        self.count("protocol", "lsa_accepted")
        self.event("lsa-accepted", **described(key), lsa_sequence=lsa.sequence, purge=lsa.purge,
                   port=session.port.name)  # fmt: skip

    def install(self, now: float, lsa: Lsa, source: flooding.Session | None) -> None:
        before = self.database.install(lsa, now)
        self.spread(lsa.key, source)
        if before is None or content_of(before) != content_of(lsa):
            self.routes_changed(now)

    def spread(self, key: Key, source: flooding.Session | None) -> None:
        version = self.database.version(key)
        for session in self.sessions.values():
            session.satisfied(key, version)
            if session is source:
                session.outgoing.pop(key, None)
            else:
                session.enqueue(key)

    # ===== time =====

    def tick(self, now: float) -> None:
        self.expire(now)
        for lsa in self.originator.take_due(now):
            self.count("protocol", "lsa_originated")
            self.event("lsa-originated", **described(lsa.key), lsa_sequence=lsa.sequence, purge=lsa.purge)
            self.install(now, lsa, None)
        for session in list(self.sessions.values()):
            session.tick(now)
        if self.compute_at is not None and now >= self.compute_at:
            self.compute(now)
        self.qos.tick(now)

    def expire(self, now: float) -> None:
        now_ms = int(now * 1e3)
        for name, attachment in list(self.attached.items()):
            if self.verifier.left(attachment, now_ms) <= 0:
                del self.attached[name]
                self.state_attached(now, self.port_of[name])
        for key, stored in list(self.database.stored.items()):
            proof = stored.lsa.proof
            if now >= stored.expires_at or (proof and self.verifier.left(proof, now_ms) <= 0):
                self.database.remove(key)
                self.routes_changed(now)

    def routes_changed(self, now: float) -> None:
        """SPF pacing: at once where it is quiet, else after a short wait."""
        if self.compute_at is None:
            quiet = now - self.computed_at > self.seconds("spf_holddown_ms")
            self.compute_at = now + self.seconds("spf_initial_ms" if quiet else "spf_short_ms")

    def compute(self, now: float) -> None:
        self.compute_at, self.computed_at = None, now
        attached = {port.name: port.cost for port in self.ports if port.peer and port.peer_role not in ROUTERS}
        new = routes.compute(self.database, self.id, self.domain, attached)
        self.count("protocol", "spf_runs")
        if new != self.routes:
            changed = sum(new.get(prefix) != self.routes.get(prefix) for prefix in {*new, *self.routes})
            self.routes, self.fib_version = new, self.fib_version + 1
            self.event("fib", version=self.fib_version, changed=changed)

    def stop(self, now: float) -> None:
        self.originator.purge_all(float("inf"))
        for own in self.originator.own.values():
            own.due = now
        for lsa in self.originator.take_due(now):
            self.install(now, lsa, None)
        for session in self.sessions.values():
            session.tick(now)

    # ===== routed messages =====

    def handle_routed(self, now: float, port: Port, header: wire.Header, pdu: bytes) -> None:
        self.forwarder.forward(now, port, header, pdu)

    def send_routed(self, message: wire.Routed) -> None:
        """Sends a message of this node's own."""
        self.count("sent", message.kind)
        pdu = message.encode()
        self.forwarder.forward(time.monotonic(), None, wire.read_header(pdu)[0], pdu)

    def deliver(self, now: float, header: wire.Header, destination: bytes, source: bytes, pdu: bytes) -> None:
        """A routed message to this node's own name."""
        _, _, at = wire.read_names(pdu)
        tlvs = wire.Tlvs(pdu, at)
        if header.kind in ("policy", "qos-ack"):
            self.qos.receive(now, header, destination, source, pdu, at)
        elif header.kind == "data":
            body = tlvs.require(wire.BODY)
            tlvs.require(wire.PAYLOAD)
            wire.finish_routed(pdu, tlvs, hops=True)
            if body[:1] != b"\1":
                raise Drop("unsolicited", "data")
            self.forwarder.refuse(now, None, header, pdu, "no-such-instance")
        else:
            raise Drop("wrong-role" if header.kind in ("telemetry", "path-query") else "unsolicited", header.kind)

    # ===== management =====

    def unacknowledged(self, port: Port) -> int:
        session = self.sessions.get(port.name)
        return len(session.outgoing) if session else 0

    def more_counters(self) -> dict:
        return {"forwarded": self.forwarder.forwarded, "delivered": self.forwarder.delivered}

    def views(self) -> dict:
        return {"/fib": self.fib_view, "/lsdb": self.lsdb_view, "/policies": self.qos.view}

    def actions(self) -> dict:
        return {"/order": self.order}

    def order(self, order: dict, reply) -> None:
        now = time.monotonic()
        if order["order"] == "overload":
            self.overload = bool(order["on"])
        elif order["order"] == "cost":
            port = self.port_of[order["port"]]
            port.cost = min(max(int(order["cost"]), 1), statements.MAX_COST)
            self.state_attached(now, port)
        elif order["order"] == "stop":
            self.end()
        else:
            reply.send(422, b"not for this role\n", "text/plain")
            return
        self.links_changed(now, False)
        reply.send(200, None)

    def fib_view(self) -> dict:
        entries = []
        for route in sorted(self.routes.values(), key=lambda route: wire.text_of(route.prefix)):
            next_hops = route.next_hops or {self.id: 1}  # the own name leads here
            hops = [{"node": hop, "port": hop, "weight": weight} for hop, weight in next_hops.items()]
            entry = {"prefix": wire.text_of(route.prefix), "source": "local" if route.local else "spf"}
            entry |= {"cost": route.cost, "origin": route.origins, "next_hops": hops}
            entries.append(entry | ({"exact": True} if route.exact else {}))
        entries += self.qos.fib_entries()
        return {"node": self.id, "version": self.fib_version, "entries": entries}

    def lsdb_view(self) -> dict:
        now = time.monotonic()
        return {
            "node": self.id,
            "digest": "",
            "lsas": [lsa_view(s, now) for _, s in sorted(self.database.stored.items())],
        }


def content_of(lsa: Lsa) -> tuple:
    proof = lsa.proof and lsa.proof.raw
    return lsa.purge, lsa.flags, lsa.links, lsa.metric, lsa.weight, lsa.instance, proof


def described(key: Key) -> dict:
    id_ = f"topology {key.id[0]}" if key.kind == 1 else f"{wire.text_of(key.id[0])} at {key.id[1]}"
    return {"origin": key.origin, "id": id_}


def lsa_view(stored, now: float) -> dict:
    lsa = stored.lsa
    row = {"origin": lsa.key.origin, "kind": "topology" if lsa.key.kind == 1 else "prefix"}
    row["id"] = str(lsa.key.id[0]) if lsa.key.kind == 1 else wire.text_of(lsa.key.id[0])
    row |= {"sequence": lsa.sequence, "remaining_ms": stored.remaining(now)}
    if lsa.key.kind == 2:
        row["port"] = lsa.key.id[1]
    if lsa.purge:
        return row | {"purged": True}
    if lsa.key.kind == 1:
        row["links"] = [{"neighbour": neighbour, "cost": cost} for neighbour, cost in lsa.links]
        row |= {"overload": bool(lsa.flags & 1), "stub": bool(lsa.flags & 2)}
        return row
    row |= {"metric": lsa.metric, "exact": bool(lsa.flags & 1)}
    return row | ({"grant": lsa.grant.serial} if lsa.grant else {})
