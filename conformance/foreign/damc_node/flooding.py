"""Reliable flooding with one neighbour: WIRE.md sections 10 and 11."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from . import wire
from .statements import Key, LsaHeader
from .wire import u

if TYPE_CHECKING:
    from .node import Port
    from .sr import Sr

FLIGHT = 64
PAGES_IN_FLIGHT, REQUESTS_IN_FLIGHT = 16, 128


class Waiting:
    """Something that is sent again until it is answered."""

    def __init__(self, what: object) -> None:
        self.what, self.attempts, self.resend_at = what, 0, 0.0

    def sent(self, now: float, first: float, longest: float) -> None:
        # Four times `retransmit` to begin with: round trips are not known yet.
        self.resend_at = now + min(first * 4 * 2**self.attempts, longest)
        self.attempts += 1


def packed(tlvs: list[bytes], room: int = wire.HOP_LOCAL_ROOM) -> list[bytes]:
    """TLVs put together so that each group fits."""
    groups: list[bytes] = []
    for tlv in tlvs:
        if groups and len(groups[-1]) + len(tlv) <= room:
            groups[-1] += tlv
        else:
            groups.append(tlv)
    return groups


class Session:
    """Flooding with one neighbour: a router, or an SCSC, which only listens."""

    def __init__(self, node: Sr, port: Port, now: float) -> None:
        self.node, self.port = node, port
        self.first, self.longest = node.seconds("retransmit_ms"), node.seconds("retransmit_max_ms")
        self.replica = port.peer_role == "scsc"
        self.outgoing: dict[Key, Waiting] = {}
        self.acks: dict[Key, LsaHeader] = {}
        self.requests: dict[Key, Waiting] = {}
        self.pages: list[Waiting] = []
        self.page_acks: list[bytes] = []
        self.theirs, self.received, self.last = None, set(), None
        self.exchanging = not self.replica
        keys = list(node.database.stored)
        if self.replica:
            for key in keys:
                self.enqueue(key)
            return
        self.exchange = secrets.randbits(31) << 1 | (node.id.encode() > port.name.encode())
        headers = [wire.tlv(wire.LSA_HEADER, node.database.header(key, now).encode()) for key in keys]
        self.pages = [Waiting(page) for page in packed(headers, wire.HOP_LOCAL_ROOM - 10) or [b""]]

    # ===== what has to reach the neighbour =====

    def enqueue(self, key: Key) -> None:
        version = self.node.database.version(key)
        if (waiting := self.outgoing.get(key)) is None or waiting.what != version:
            self.outgoing[key] = Waiting(version)

    def acknowledged(self, header: LsaHeader) -> bool:
        waiting = self.outgoing.get(header.key)
        if waiting is None or header.version < waiting.what:
            return False
        del self.outgoing[header.key]
        return True

    # ===== the exchange =====

    def page(self, body: bytes, headers: list[LsaHeader], now: float) -> None:
        reader = wire.Reader(body)
        exchange, number, last = reader.u32(), reader.u16(), reader.u8()
        reader.end()
        if last > 1:
            wire.malformed("last page")
        if exchange & 1 == self.exchange & 1:
            if exchange == self.exchange and number < len(self.pages):
                self.pages[number].what = None
            return
        self.page_acks.append(wire.tlv(wire.BODY, body))
        if not self.exchanging or exchange != (self.theirs or exchange) or number in self.received:
            return
        self.theirs, self.last = exchange, number if last else self.last
        self.received.add(number)
        database = self.node.database
        for header in headers:
            newer = header.version > database.version(header.key)
            if header.remaining and (newer or database.compare_age(header, now) > 0):
                self.requests[header.key] = Waiting(header)
            elif header.version < database.version(header.key):
                self.enqueue(header.key)

    def satisfied(self, key: Key, version: tuple[int, int]) -> None:
        if (request := self.requests.get(key)) and request.what.version <= version:
            del self.requests[key]

    def is_complete(self) -> bool:
        whole = self.last is not None and len(self.received) == self.last + 1
        return whole and not self.requests and all(page.what is None for page in self.pages)

    # ===== sending =====

    def tick(self, now: float) -> None:
        send = self.port.adjacency.send
        for body in self.page_acks:
            send("db-summary", body)
        acks = [wire.tlv(wire.LSA_HEADER, header.encode()) for header in self.acks.values()]
        for group in packed(acks):
            send("ls-ack", group)
        self.page_acks, self.acks = [], {}
        if self.exchanging:
            self.send_exchange(now)
        updates = []
        for key, waiting in list(self.outgoing.items())[:FLIGHT]:
            if now < waiting.resend_at:
                continue
            if (copy := self.node.database.copy(key, now)) is None:
                del self.outgoing[key]
                continue
            waiting.sent(now, self.first, self.longest)
            updates.append(wire.tlv(wire.LSA, copy))
        for group in packed(updates):
            send("topology" if self.replica else "ls-update", group)

    def send_exchange(self, now: float) -> None:
        send = self.port.adjacency.send
        open_pages = [(i, page) for i, page in enumerate(self.pages) if page.what is not None][:PAGES_IN_FLIGHT]
        for number, page in open_pages:
            if now >= page.resend_at:
                page.sent(now, self.first, self.longest)
                last = number == len(self.pages) - 1
                body = u(self.exchange, 4) + u(number, 2) + bytes([last])
                send("db-summary", wire.tlv(wire.BODY, body) + page.what)
        due = []
        for request in list(self.requests.values())[:REQUESTS_IN_FLIGHT]:
            if now >= request.resend_at:
                request.sent(now, self.first, self.longest)
                due.append(wire.tlv(wire.LSA_HEADER, request.what.encode()))
        for group in packed(due):
            send("ls-request", group)
        if self.is_complete():
            self.exchanging = False
            self.port.adjacency.full(now)
