"""Announcements as SPA and pod see them: WIRE.md section 6, Announce and AuthRequest."""

from __future__ import annotations

from typing import NamedTuple

from . import statements, wire
from .statements import Certificate
from .wire import u

CONTEXT = "damc announce v1"
ROOM = 800


class Addition(NamedTuple):
    prefix: bytes
    weight: int
    pool: bytes | None

    def encode(self) -> bytes:
        pool = wire.short(self.pool) if self.pool else b""
        return bytes([2 if self.pool else 1]) + wire.short(self.prefix) + u(self.weight, 2) + pool


class Announce(NamedTuple):
    request: int
    pod: str
    sg: str
    sg_session: int
    additions: tuple[Addition, ...]
    withdrawals: tuple[bytes, ...]

    def fields(self) -> bytes:
        return u(self.request, 8) + wire.short(self.pod) + wire.short(self.sg) + u(self.sg_session, 8)

    def entries(self) -> bytes:
        added = b"".join(wire.tlv(wire.ANNOUNCEMENT, addition.encode()) for addition in self.additions)
        gone = b"".join(wire.tlv(wire.ANNOUNCEMENT, b"\0" + wire.short(name)) for name in self.withdrawals)
        return added + gone


class AuthRequest(NamedTuple):
    request: int
    announce: Announce
    certificate: Certificate
    signature: bytes


def announce_of(fields: wire.Reader, tlvs: wire.Tlvs) -> Announce:
    """An announcement from its fields and the Announcement TLVs that follow."""
    request, pod, sg, session = fields.nonzero(), fields.node(), fields.node(), fields.u64()
    fields.end()
    additions, withdrawals = [], []
    for value in tlvs.many(wire.ANNOUNCEMENT):
        entry = wire.Reader(value)
        kind = entry.u8()
        if kind == 0:
            withdrawals.append(entry.name())
        elif kind in (1, 2) and not withdrawals:
            additions.append(Addition(entry.name(), entry.u16(), entry.name() if kind == 2 else None))
        else:
            wire.malformed(f"announcement of kind {kind}")
        entry.end()
    return Announce(request, pod, sg, session, tuple(additions), tuple(withdrawals))


def auth_request_of(tlvs: wire.Tlvs) -> AuthRequest:
    fields = wire.Reader(tlvs.require(wire.BODY))
    number = fields.u64()
    announce = announce_of(fields, tlvs)
    certificate = statements.certificate_of(tlvs.require(wire.CERTIFICATE))
    signature = wire.Reader(tlvs.require(wire.SIGNATURE)).take(64)
    tlvs.end()
    return AuthRequest(number, announce, certificate, signature)


def names_of(announce: Announce) -> list[tuple[bytes, bool]]:
    """Every name that is added, once, and whether it is a pool."""
    names: dict[tuple[bytes, bool], None] = {}
    for addition in announce.additions:
        names[addition.prefix, False] = None
        if addition.pool:
            names[addition.pool, True] = None
    return list(names)


def pages(additions: list[Addition], withdrawals: list[bytes]) -> list[tuple[list[Addition], list[bytes]]]:
    """Announcements that each fit an AuthRequest."""
    out: list[tuple[list[Addition], list[bytes]]] = [([], [])]
    room = ROOM
    for entry in [*additions, *withdrawals]:
        addition = isinstance(entry, Addition)
        size = 3 + len(entry.encode() if addition else entry) + 2
        if size > room and (out[-1][0] or out[-1][1]):
            out.append(([], []))
            room = ROOM
        room -= size
        out[-1][0 if addition else 1].append(entry)
    return out if out[0] != ([], []) else []
