"""A pod: its announcements, its built-in services and its calls: WIRE.md sections 15, 16 and 18, LAB.md section 7."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from . import announcing, calling, wire
from .announcing import Addition, Announce
from .node import Node, Port
from .wire import CODES, REFUSAL_LABELS, REFUSALS, Drop, Header, u

PASSING = ("spa-unreachable", "conflict", "overloaded", "rate-limited", "held-down")


class Service:
    """A running service."""

    def __init__(self, pool: bytes | None, weight: int) -> None:
        self.pool, self.weight, self.served = pool, weight, 0
        self.request = 0  # the newest announcement that carried it


class Pod(Node):
    """Services without programs: those with `run` are not announced."""

    def __init__(self, config: dict) -> None:
        super().__init__(config)
        for counter in ("invocations", "requests_repeated", "requests_retransmitted"):
            self.count("protocol", counter, 0)
        self.configured: dict[bytes, tuple[bytes | None, int]] = {}
        for service in config.get("services", []):
            pool = wire.name(service["pool"]) if service.get("pool") else None
            if "run" not in service:
                self.configured[wire.name(service["prefix"])] = pool, service.get("weight", 1)
        self.services = {prefix: Service(*known) for prefix, known in self.configured.items()}
        self.known = set(self.services)
        self.standing: dict[bytes, str] = {}  # "accepted", a refusal, or missing while it is open
        self.request, self.waiting = 0, {}  # request -> [Announce, TLVs, next, interval]
        self.again_at: float | None = None
        self.server, self.caller = calling.Server(self), calling.Caller(self)
        self.write_key()

    def write_key(self) -> None:
        """The signing secret for programs in this pod."""
        secret = bytes.fromhex(self.config["identity"]["signing_secret"])
        key = Ed25519PrivateKey.from_private_bytes(secret)
        path = Path(self.config["admin_socket"]).with_suffix(".pem")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    @property
    def sg(self) -> Port | None:
        return next((port for port in self.ports if port.peer), None)

    # ===== class 1 =====

    def neighbour_full(self, now: float, port: Port) -> None:
        self.request = 0
        self.announce(now, list(self.services), [])

    def neighbour_down(self, now: float, port: Port) -> None:
        self.waiting, self.standing, self.again_at = {}, {}, None

    def announce(self, now: float, prefixes: list[bytes], withdrawals: list[bytes]) -> None:
        if not (sg := self.sg):
            return
        additions = [Addition(p, self.services[p].weight, self.services[p].pool) for p in prefixes]
        for added, withdrawn in announcing.pages(additions, withdrawals):
            self.request += 1
            for addition in added:
                self.services[addition.prefix].request = self.request
            session = sg.adjacency.peer.session
            announce = Announce(self.request, self.id, sg.name, session, tuple(added), tuple(withdrawn))
            signature = self.keys.sign(announcing.CONTEXT, announce.fields() + announce.entries())
            tlvs = wire.tlv(wire.BODY, announce.fields()) + announce.entries() + wire.tlv(wire.SIGNATURE, signature)
            self.waiting[self.request] = [announce, tlvs, now, self.seconds("retransmit_ms")]

    def handle_local(self, now: float, port: Port, kind: str, tlvs: wire.Tlvs) -> None:
        reader = wire.Reader(tlvs.require(wire.BODY))
        request = reader.u64()
        reader.end()
        outcomes = {}
        for value in tlvs.many(wire.OUTCOME):
            outcome = wire.Reader(value)
            code = outcome.u8()
            if code and code not in REFUSAL_LABELS:
                wire.malformed(f"reason {code}")
            outcomes[outcome.name()] = REFUSAL_LABELS.get(code, "accepted")
            outcome.end()
        tlvs.end()
        if request and self.waiting.pop(request, None) is None:
            raise Drop("unsolicited", "announce-reply")
        for name, standing in outcomes.items():
            newer = [r for r, w in self.waiting.items() if r > request and (name, False) in announcing.names_of(w[0])]
            if not newer or not request:
                self.standing[name] = standing
        if any(standing in PASSING for standing in self.standing.values()):
            self.again_at = self.again_at or now + self.seconds("retransmit_max_ms")

    def tick(self, now: float) -> None:
        for waiting in self.waiting.values():
            if now >= waiting[2] and self.sg:
                self.sg.adjacency.send("announce", waiting[1])
                waiting[2:4] = now + waiting[3], min(waiting[3] * 2, self.seconds("retransmit_max_ms"))
        if self.again_at and now >= self.again_at:
            self.again_at = None
            refused = {name for name, standing in self.standing.items() if standing in PASSING}
            again = [p for p, s in self.services.items() if p in refused or s.pool in refused]
            self.announce(now, again, [])
        self.server.tick(now)
        self.caller.tick(now)

    def start_service(self, now: float, prefix: bytes, pool: bytes | None) -> None:
        configured_pool, weight = self.configured.get(prefix, (None, 1))
        service = Service(pool or configured_pool, weight)
        known = self.services.get(prefix)
        if known and (known.pool, known.weight) == (service.pool, service.weight):
            return
        self.known.add(prefix)
        self.services[prefix] = service
        self.standing.pop(prefix, None)
        self.event("service", prefix=wire.text_of(prefix), running=True, detail="")
        self.announce(now, [prefix], [])

    def stop_service(self, now: float, prefix: bytes) -> None:
        if self.services.pop(prefix, None):
            self.standing.pop(prefix, None)
            self.event("service", prefix=wire.text_of(prefix), running=False, detail="")
            self.announce(now, [], [prefix])

    def stop(self, now: float) -> None:
        prefixes = list(self.services)
        self.services = {}
        self.announce(now, [], prefixes)
        self.tick(now)

    # ===== routed messages =====

    def serving(self, destination: bytes, draw: int = 0) -> bytes | None:
        """The service for a destination: an instance of the pool of this name, or the longest prefix."""
        members = sorted(prefix for prefix, service in self.services.items() if service.pool == destination)
        if members:
            return members[draw % len(members)]
        covering = [prefix for prefix in self.services if destination.startswith(prefix)]
        return max(covering, key=len, default=None)

    def source(self) -> bytes | None:
        """The first accepted prefix: what calls come from unless they say otherwise."""
        accepted = (prefix for prefix in sorted(self.services) if self.standing.get(prefix) == "accepted")
        return next(accepted, None)

    def send_routed(self, message: wire.Routed) -> None:
        if sg := self.sg:
            self.count("sent", message.kind)
            sg.send_routed(message.encode())

    def handle_routed(self, now: float, port: Port, header: Header, pdu: bytes) -> None:
        if port is not self.sg:
            raise Drop("no-adjacency", header.kind)
        destination, source, at = wire.read_names(pdu)
        tlvs = wire.Tlvs(pdu, at)
        body = tlvs.require(wire.BODY)
        if header.kind == "data":
            payload, context = tlvs.require(wire.PAYLOAD), calling.context_of(tlvs, body)
            hops = wire.finish_routed(pdu, tlvs, hops=True)
            data = calling.data_of(body, payload, hops, context)
            if data.kind == calling.REQUEST:
                self.server.request(now, header, destination, source, data)
            else:
                self.caller.answer(now, data)
            return
        if header.kind == "probe":
            tlvs.optional(wire.PADDING)
        wire.finish_routed(pdu, tlvs)
        if header.kind == "nack":
            self.caller.nack(now, body)
        elif header.kind in ("probe", "task"):
            prefix = self.serving(destination)
            if prefix is None:
                self.refuse(header, destination, source, body)
            elif header.kind == "probe":
                self.reflect(now, header, source, prefix, body)
            else:
                self.report(header, source, prefix, body)
        else:
            raise Drop("wrong-role", header.kind)

    def refuse(self, header: Header, destination: bytes, source: bytes, body: bytes) -> None:
        if speaker := self.source():
            value = bytes([REFUSALS["no-such-instance"], CODES[header.kind]])
            value += wire.short(self.id) + wire.short(destination) + body
            self.send_routed(wire.Routed("nack", source, speaker, wire.tlv(wire.BODY, value), header.flow))
        raise Drop("no-such-instance", wire.text_of(destination))

    def reflect(self, now: float, header: Header, source: bytes, prefix: bytes, body: bytes) -> None:
        reader = wire.Reader(body)
        test, sequence, index, length = reader.u64(), reader.u32(), reader.u16(), reader.u16()
        t1, _, _ = reader.u64(), reader.u64(), reader.u64()
        reader.end()
        if index >= length:
            wire.malformed("train index")
        value = u(test, 8) + u(sequence, 4) + u(index, 2) + u(length, 2) + u(t1, 8)
        value += u(int(now * 1e9), 8) + u(time.monotonic_ns(), 8)
        self.send_routed(wire.Routed("probe-reply", source, prefix, wire.tlv(wire.BODY, value), header.flow))

    def report(self, header: Header, source: bytes, prefix: bytes, body: bytes) -> None:
        reader = wire.Reader(body)
        task = reader.u64()
        reader.end()
        began = time.monotonic_ns()
        healthy = calling.method(prefix, "add", b"2 3") == ("done", b"5")
        served, spent = self.services[prefix].served, time.monotonic_ns() - began
        value = u(task, 8) + bytes([healthy]) + u(0, 4) + u(served, 8) + u(spent, 8)
        self.send_routed(wire.Routed("task-report", source, prefix, wire.tlv(wire.BODY, value), header.flow))

    # ===== management =====

    def views(self) -> dict:
        return {"/announcements": self.announcements, "/services": self.services_view}

    def announcements(self) -> dict:
        names = {(prefix, False) for prefix in self.services}
        names |= {(service.pool, True) for service in self.services.values() if service.pool}
        rows = []
        for name, exact in sorted(names):
            standing = self.standing.get(name, "pending")
            row = {"prefix": wire.text_of(name), "pod": self.id, "exact": exact}
            state = standing if standing in ("accepted", "pending") else "refused"
            rows.append(row | {"state": state} | ({"reason": standing} if state == "refused" else {}))
        return {"node": self.id, "announcements": sorted(rows, key=lambda row: row["prefix"])}

    def services_view(self) -> dict:
        rows = []
        for prefix in sorted(self.known):
            state = "ready" if prefix in self.services else "stopped"
            rows.append({"prefix": wire.text_of(prefix), "state": state, "program": "built-in", "starts": 1})
        return {"node": self.id, "services": rows}

    def actions(self) -> dict:
        return {"/order": self.order, "/call": self.caller.call}

    def order(self, order: dict, reply) -> None:
        kind, now = order["order"], time.monotonic()
        if kind == "stop":
            self.end()
        elif kind == "start-service":
            pool = wire.name(order["pool"]) if order.get("pool") else None
            self.start_service(now, wire.name(order["prefix"]), pool)
        elif kind == "stop-service":
            self.stop_service(now, wire.name(order["prefix"]))
        elif kind == "kill-service":
            prefix = wire.name(order["prefix"])
            pool = self.services[prefix].pool if prefix in self.services else None
            self.stop_service(now, prefix)
            self.start_service(now, prefix, pool)
        else:
            reply.send(422, b"not for this role\n", "text/plain")
            return
        reply.send(200, None)
