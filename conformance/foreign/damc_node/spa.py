"""A Service Prefix Authentication entity: WIRE.md section 15."""

from __future__ import annotations

import time

from . import announcing, wire
from .announcing import AuthRequest
from .node import Node, Port
from .wire import REFUSALS, Drop, u

ANSWERS_KEPT = 4096
GRANTS_OF_A_POD = 4096
NEW_AT_ONCE, NEW_A_SECOND = 2048, 8


class Bucket:
    """Tokens for new names of one pod."""

    def __init__(self, now: float) -> None:
        self.tokens, self.at = float(NEW_AT_ONCE), now

    def take(self, now: float) -> bool:
        self.tokens = min(self.tokens + (now - self.at) * NEW_A_SECOND, NEW_AT_ONCE)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Spa(Node):
    """Grants names to pods by their licences, and takes grants back."""

    def __init__(self, config: dict) -> None:
        super().__init__(config)
        licences = config.get("licences", {})
        self.licences = {pod: {wire.name(text) for text in names} for pod, names in licences.items()}
        self.pools = {wire.name(text) for text in config.get("pools", [])}
        self.serial = 0
        self.answers: dict[tuple[str, int], tuple[bytes, list[bytes]]] = {}
        self.granted: dict[tuple[str, bytes, bool, str], tuple[int, int]] = {}  # serial, end; by pod, name, exact, SG
        self.buckets: dict[str, Bucket] = {}
        self.judged: dict[tuple[str, bytes], dict] = {}
        self.revoking: dict[tuple[str, int], list] = {}  # body, next, interval, end; by SG and serial

    # ===== class 3 =====

    def handle_local(self, now: float, port: Port, kind: str, tlvs: wire.Tlvs) -> None:
        if kind == "revoke-ack":
            reader = wire.Reader(tlvs.require(wire.BODY))
            serial = reader.u64()
            reader.end(), tlvs.end()
            if self.revoking.pop((port.name, serial), None) is None:
                raise Drop("unsolicited", "revoke-ack")
            return
        request = announcing.auth_request_of(tlvs)
        self.count("protocol", "auth_requests")
        key = port.name, request.request
        known = self.answers.get(key)
        if known and known[0] == request.signature:
            self.count("protocol", "auth_repeated")
        else:
            known = request.signature, self.judge(now, port, request)
            self.answers[key] = known
            if len(self.answers) > ANSWERS_KEPT:
                del self.answers[next(iter(self.answers))]
        head = wire.tlv(wire.BODY, u(request.request, 8))
        for result in known[1]:
            port.adjacency.send("auth-reply", head + result)

    def judge(self, now: float, port: Port, request: AuthRequest) -> list[bytes]:
        """One result for each name."""
        announce, identified = request.announce, True
        try:
            self.verifier.certificate(request.certificate, ("pod",), announce.pod)
            covered = announce.fields() + announce.entries()
            self.verifier.signed(request.certificate, announcing.CONTEXT, covered, request.signature)
            if announce.sg != port.name:
                raise Drop("not-authorised", "another SG was announced to")
        except Drop as drop:
            self.count("dropped", drop.reason)
            identified = False
        results = []
        for prefix, exact in announcing.names_of(announce):
            reason = self.refusal(now, port, announce.pod, prefix, exact) if identified else "bad-identity"
            row = {"prefix": wire.text_of(prefix), "pod": announce.pod, "exact": exact}
            if reason:
                self.count("protocol", "refusals")
                row |= {"state": "refused", "reason": reason}
                results.append(wire.tlv(wire.OUTCOME, bytes([REFUSALS[reason]]) + wire.short(prefix)))
            else:
                self.count("protocol", "grants_issued")
                results.append(self.grant(now, port, request, prefix, exact))
                row |= {"state": "accepted", "grant": self.serial}
            serial = None if reason else self.serial
            self.event("authenticated", pod=announce.pod, prefix=row["prefix"], refusal=reason, serial=serial)
            if identified:
                self.judged[announce.pod, prefix] = row
        return results

    def refusal(self, now: float, port: Port, pod: str, prefix: bytes, exact: bool) -> str | None:
        if not self.licensed(pod, prefix, exact):
            return "bad-prefix" if wire.components(prefix)[0] == b"\x04damc" else "not-licensed"
        current = self.granted.get((pod, prefix, exact, port.name))
        if current and current[1] > now * 1e3:
            return None
        if sum(held[0] == pod for held in self.granted) >= GRANTS_OF_A_POD:
            return "overloaded"
        bucket = self.buckets.setdefault(pod, Bucket(now))
        return None if bucket.take(now) else "rate-limited"

    def licensed(self, pod: str, prefix: bytes, exact: bool) -> bool:
        if wire.components(prefix)[0] == b"\x04damc":
            return False
        names = self.licences.get(pod, set())
        if exact:
            covered = prefix in names
        else:
            covered = any(prefix.startswith(licensed) and licensed not in self.pools for licensed in names)
        return covered and self.keys.certificate.may_grant(prefix, exact)

    def grant(self, now: float, port: Port, request: AuthRequest, prefix: bytes, exact: bool) -> bytes:
        """A grant, as a TLV."""
        self.serial = max(self.serial + 1, int(now * 1e6))
        issued_at = int(now * 1e3)
        expires_at = issued_at + self.pace["grant_lifetime_ms"]
        pod = request.announce.pod
        value = bytes([exact, 0 if exact else 255]) + wire.short(prefix) + wire.short(pod)
        value += request.certificate.signing_key + wire.short(port.name)
        value += u(issued_at, 8) + u(expires_at, 8) + u(self.serial, 8) + self.keys.certificate.raw
        self.granted[pod, prefix, exact, port.name] = self.serial, expires_at
        return wire.tlv(wire.GRANT, value + self.keys.sign("damc grant v1", value))

    # ===== revocation =====

    def revoke(self, now: float, pod: str) -> None:
        """Takes back what the pod is not licensed for any more."""
        for (holder, prefix, exact, sg), (serial, end) in list(self.granted.items()):
            if holder != pod or self.licensed(pod, prefix, exact):
                continue
            del self.granted[holder, prefix, exact, sg]
            if end <= now * 1e3:
                continue
            body = wire.tlv(wire.BODY, u(serial, 8) + wire.short(pod) + wire.short(prefix))
            self.revoking[sg, serial] = [body, now, self.seconds("retransmit_ms"), end]
            self.count("protocol", "grants_revoked")
            self.event("revoked", pod=pod, prefix=wire.text_of(prefix))
            row = {"prefix": wire.text_of(prefix), "pod": pod, "exact": exact}
            self.judged[pod, prefix] = row | {"state": "refused", "reason": "revoked"}

    def neighbour_full(self, now: float, port: Port) -> None:
        for (sg, _), revoking in self.revoking.items():
            if sg == port.name:
                revoking[1:3] = now, self.seconds("retransmit_ms")

    def tick(self, now: float) -> None:
        for key, revoking in list(self.revoking.items()):
            body, due, interval, end = revoking
            if end <= now * 1e3:
                del self.revoking[key]
            elif now >= due and self.port_of[key[0]].adjacency.send("revoke", body):
                revoking[1:3] = now + interval, min(interval * 2, self.seconds("retransmit_max_ms"))

    # ===== management =====

    def views(self) -> dict:
        return {"/announcements": self.announcements}

    def announcements(self) -> dict:
        rows = sorted(self.judged.values(), key=lambda row: (row["prefix"], row["pod"]))
        return {"node": self.id, "announcements": rows}

    def actions(self) -> dict:
        return {"/order": self.order}

    def order(self, order: dict, reply) -> None:
        kind, now = order["order"], time.monotonic()
        if kind == "stop":
            self.end()
        elif kind in ("add-licence", "revoke-licence"):
            names, prefix = self.licences.setdefault(order["pod"], set()), wire.name(order["prefix"])
            # What was answered before would hide the change from a repeated question.
            self.answers.clear()
            if kind == "add-licence":
                names.add(prefix)
            else:
                names.discard(prefix)
                self.revoke(now, order["pod"])
        else:
            reply.send(422, b"not for this role\n", "text/plain")
            return
        reply.send(200, None)
