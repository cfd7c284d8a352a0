"""Bytes to values and back: WIRE.md sections 1 to 6."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_PDU = 1500
HEADER = struct.Struct("!BBBBHHII")
HOP_MAC_LEN = 27
HOP_LOCAL_ROOM = MAX_PDU - HEADER.size - HOP_MAC_LEN
MAX_COST = 16_777_215
U64 = (1 << 64) - 1

# Message types, section 23.3.
TYPES = {
    0x01: "hello",
    0x02: "echo",
    0x10: "announce",
    0x11: "announce-reply",
    0x20: "ls-update",
    0x21: "ls-ack",
    0x22: "db-summary",
    0x23: "ls-request",
    0x30: "auth-request",
    0x31: "auth-reply",
    0x32: "revoke",
    0x33: "revoke-ack",
    0x40: "topology",
    0x41: "topology-ack",
    0x80: "data",
    0x81: "telemetry",
    0x82: "policy",
    0x83: "qos-ack",
    0x84: "probe",
    0x85: "probe-reply",
    0x86: "task",
    0x87: "task-report",
    0x88: "nack",
    0x89: "path-query",
    0x8A: "path-reply",
    0x8B: "packet",
}
CODES = {label: code for code, label in TYPES.items()}

# TLV types, section 23.4.
DESTINATION, SOURCE, BODY, LSA, LSA_HEADER = 0x81, 0x82, 0x83, 0x84, 0x85
CERTIFICATE, GRANT, ANNOUNCEMENT, OUTCOME = 0x86, 0x87, 0x88, 0x89
PATH_REPORT, LINK_REPORT, PAYLOAD, CHECKSUM = 0x8A, 0x8B, 0x8C, 0x8D
HOP, SIGNATURE, HOP_MAC, PADDING = 0x0E, 0x8F, 0x90, 0x11
KNOWN_TLVS = {*range(0x81, 0x8E), HOP, SIGNATURE, HOP_MAC, PADDING}

ROLES = {1: "sr", 2: "sg", 3: "spa", 4: "scsc", 5: "pod"}

REFUSALS = {
    "not-licensed": 1,
    "bad-prefix": 2,
    "bad-identity": 3,
    "conflict": 4,
    "spa-unreachable": 5,
    "revoked": 6,
    "overloaded": 7,
    "rate-limited": 8,
    "held-down": 9,
    "no-route": 16,
    "no-such-instance": 17,
    "hop-limit-exceeded": 18,
    "source-not-authorised": 19,
    "no-such-method": 20,
    "bad-arguments": 21,
    "deadline-exceeded": 22,
    "failed": 23,
    "service-unavailable": 24,
    "too-large": 25,
}
REFUSAL_LABELS = {code: label for label, code in REFUSALS.items()}

POLICY_REASONS = {
    "malformed": 6,
    "duplicate-identity": 17,
    "stale-policy": 48,
    "policy-expired": 49,
    "policy-unreachable": 50,
}


class Drop(Exception):
    """A frame, or a part of one, that is not taken; with the reason of section 23.6."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


# ===== names, section 3 =====

_COMPONENT = re.compile(rb"[A-Za-z0-9._~-]{1,64}\Z")
_NODE = re.compile(r"[a-z0-9._-]{1,32}\Z")


def check_name(wire: bytes) -> bytes:
    """The wire form of a name, checked."""
    at, count = 0, 0
    while at < len(wire):
        end = at + 1 + wire[at]
        component = wire[at + 1 : end]
        if end > len(wire) or component in (b".", b"..") or not _COMPONENT.match(component):
            raise Drop("bad-name", repr(wire))
        at, count = end, count + 1
    if not 1 <= count <= 32 or len(wire) > 255:
        raise Drop("bad-name", repr(wire))
    return wire


def name(text: str) -> bytes:
    """The wire form of a name in text form."""
    if not text.startswith("/"):
        raise Drop("bad-name", text)
    return check_name(b"".join(bytes([len(part)]) + part.encode() for part in text[1:].split("/")))


def components(wire: bytes) -> list[bytes]:
    parts, at = [], 0
    while at < len(wire):
        parts.append(wire[at : at + 1 + wire[at]])
        at += 1 + wire[at]
    return parts


def text_of(wire: bytes) -> str:
    return "".join("/" + part[1:].decode() for part in components(wire))


def node_name(domain: str, node: str) -> bytes:
    return name(f"/damc/{domain}/{node}")


# ===== fields and TLVs, section 2 =====


class Reader:
    """Reads the fields of one value."""

    def __init__(self, value: bytes) -> None:
        self.value, self.at = value, 0

    def take(self, length: int) -> bytes:
        part = self.value[self.at : self.at + length]
        if len(part) != length:
            raise Drop("truncated", f"{length} bytes wanted, {len(part)} left")
        self.at += length
        return part

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length), "big")

    def u8(self) -> int:
        return self.number(1)

    def u16(self) -> int:
        return self.number(2)

    def u32(self) -> int:
        return self.number(4)

    def u64(self) -> int:
        return self.number(8)

    def nonzero(self) -> int:
        return self.u64() or malformed("a number that is 0")

    def flags(self, known: int) -> int:
        value = self.u8()
        return malformed(f"flags {value:#x}") if value & ~known else value

    def name(self) -> bytes:
        return check_name(self.take(self.u8()))

    def node(self) -> str:
        text = self.take(self.u8()).decode("latin-1")
        return text if _NODE.match(text) else malformed(f"node {text!r}")

    def rest(self) -> bytes:
        return self.take(len(self.value) - self.at)

    def end(self) -> None:
        if self.at != len(self.value):
            raise Drop("oversized", "bytes left over")


def malformed(what: str):
    raise Drop("malformed", what)


def u(value: int, length: int) -> bytes:
    return value.to_bytes(length, "big")


def short(value: bytes | str) -> bytes:
    """A name or a node identity behind its length byte."""
    value = value.encode() if isinstance(value, str) else value
    return bytes([len(value)]) + value


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + u(len(value), 2) + value


class Tlvs:
    """The TLVs of a message in order; unknown ones without the critical bit are skipped."""

    def __init__(self, pdu: bytes, at: int) -> None:
        self.pdu, self.at = pdu, at

    def peek(self) -> int | None:
        while self.at < len(self.pdu):
            if self.at + 3 > len(self.pdu):
                raise Drop("truncated", "TLV header")
            kind = self.pdu[self.at]
            end = self.at + 3 + int.from_bytes(self.pdu[self.at + 1 : self.at + 3], "big")
            if end > len(self.pdu):
                raise Drop("truncated", "TLV value")
            if kind in KNOWN_TLVS:
                return kind
            if kind & 0x80:
                raise Drop("unknown-critical-tlv", f"{kind:#x}")
            self.at = end
        return None

    def optional(self, kind: int) -> bytes | None:
        if self.peek() != kind:
            return None
        start = self.at + 3
        self.at = start + int.from_bytes(self.pdu[self.at + 1 : start], "big")
        return self.pdu[start : self.at]

    def require(self, kind: int) -> bytes:
        value = self.optional(kind)
        return malformed(f"TLV {kind:#x} is missing") if value is None else value

    def many(self, kind: int, at_least: int = 0) -> list[bytes]:
        values = []
        while (value := self.optional(kind)) is not None:
            values.append(value)
        return malformed(f"no TLV {kind:#x}") if len(values) < at_least else values

    def end(self) -> None:
        if (kind := self.peek()) is not None:
            malformed(f"TLV {kind:#x} is not allowed here")


# ===== frames, section 1 =====


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _crc_table()


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


TRACE, UPHILL = 0x01, 0x02


@dataclass
class Header:
    kind: str
    flags: int = 0
    hop_limit: int = 1
    ahead: int = 0
    flow: int = 0
    label: int = 0

    @property
    def routed(self) -> bool:
        return CODES[self.kind] >= 0x80

    def encode(self, length: int) -> bytes:
        return HEADER.pack(1, CODES[self.kind], self.flags, self.hop_limit, length, self.ahead, self.flow, self.label)


def read_header(payload: bytes) -> tuple[Header, bytes]:
    """The header of an Ethernet payload, and the PDU without what Ethernet added behind it."""
    pdu = payload
    if len(payload) == 46:
        pdu = payload[: max(int.from_bytes(payload[4:6], "big"), HEADER.size)]
    if pdu and pdu[0] != 1:
        raise Drop("bad-version", str(pdu[0]))
    if len(pdu) < HEADER.size:
        raise Drop("truncated", "header")
    _, code, flags, hop_limit, length, ahead, flow, label = HEADER.unpack_from(pdu)
    if length < HEADER.size:
        malformed(f"length {length}")
    if length > MAX_PDU or len(pdu) > length:
        raise Drop("oversized", f"length {length}, {len(pdu)} bytes")
    if len(pdu) < length:
        raise Drop("truncated", f"length {length}, {len(pdu)} bytes")
    if code not in TYPES:
        raise Drop("unknown-type", f"{code:#x}")
    if code < 0x80 and (hop_limit, flow, label) != (1, 0, 0):
        malformed("routing fields of a hop-local message")
    return Header(TYPES[code], flags, hop_limit, ahead, flow, label), pdu


def hop_local(kind: str, tlvs: bytes) -> bytes:
    return Header(kind).encode(HEADER.size + len(tlvs)) + tlvs


@dataclass
class Routed:
    """A routed message: its fixed parts, and the TLVs between the names and the checksum."""

    kind: str
    destination: bytes
    source: bytes
    tlvs: bytes
    flow: int = 0
    label: int = 0
    hop_limit: int = 64
    flags: int = 0
    hops: list[bytes] = field(default_factory=list)

    def encode(self) -> bytes:
        covered = tlv(DESTINATION, self.destination) + tlv(SOURCE, self.source) + self.tlvs
        rest = covered + tlv(CHECKSUM, u(crc32c(covered), 4)) + b"".join(tlv(HOP, hop) for hop in self.hops)
        header = Header(self.kind, self.flags, self.hop_limit, 0, self.flow, self.label)
        return header.encode(HEADER.size + len(rest)) + rest


def read_names(pdu: bytes) -> tuple[bytes, bytes, int]:
    """Destination, source, and where the TLVs behind them begin."""
    tlvs = Tlvs(pdu, HEADER.size)
    destination = check_name(tlvs.require(DESTINATION))
    return destination, check_name(tlvs.require(SOURCE)), tlvs.at


def finish_routed(pdu: bytes, tlvs: Tlvs, hops: bool = False) -> list[bytes]:
    """Verifies the checksum behind the TLVs of a routed message; returns its hops."""
    tlvs.peek()
    at = tlvs.at
    checksum = Reader(tlvs.require(CHECKSUM))
    if checksum.u32() != crc32c(pdu[HEADER.size : at]):
        raise Drop("bad-checksum")
    checksum.end()
    recorded = tlvs.many(HOP) if hops else []
    for hop in recorded:
        reader = Reader(hop)
        reader.flags(0x01), reader.node(), reader.end()
    tlvs.end()
    return recorded


# ===== certificates, grants, section 4 =====


class Certificate(NamedTuple):
    domain: str
    node: str
    role: str
    signing_key: bytes
    agreement_key: bytes
    names: tuple[tuple[bool, bytes], ...]
    signature: bytes
    raw: bytes

    def may_grant(self, prefix: bytes, exact: bool) -> bool:
        return any(
            prefix == certified and exact if only else prefix.startswith(certified) for only, certified in self.names
        )


def read_certificate(reader: Reader) -> Certificate:
    start = reader.at
    domain, node, code = reader.node(), reader.node(), reader.u8()
    role = ROLES.get(code) or malformed(f"role {code}")
    signing_key, agreement_key = reader.take(32), reader.take(32)
    names = []
    if role == "spa":
        count, begin = reader.u8(), reader.at
        names = [(bool(reader.flags(0x01)), reader.name()) for _ in range(count)]
        if reader.at - begin > 256:
            raise Drop("oversized", "names of a certificate")
    signature = reader.take(64)
    raw = reader.value[start : reader.at]
    return Certificate(domain, node, role, signing_key, agreement_key, tuple(names), signature, raw)


def certificate_of(value: bytes) -> Certificate:
    reader = Reader(value)
    certificate = read_certificate(reader)
    reader.end()
    return certificate


class Grant(NamedTuple):
    exact: bool
    prefix: bytes
    pod: str
    pod_key: bytes
    sg: str
    issued_at: int
    expires_at: int
    serial: int
    certificate: Certificate
    signature: bytes
    raw: bytes


def read_grant(reader: Reader) -> Grant:
    start = reader.at
    exact = bool(reader.flags(0x01))
    reader.u8()  # Depth says nothing that prefix and exact do not.
    prefix, pod, pod_key, sg = reader.name(), reader.node(), reader.take(32), reader.node()
    issued_at, expires_at, serial = reader.u64(), reader.u64(), reader.u64()
    certificate = read_certificate(reader)
    signature = reader.take(64)
    raw = reader.value[start : reader.at]
    return Grant(exact, prefix, pod, pod_key, sg, issued_at, expires_at, serial, certificate, signature, raw)


# ===== LSAs, section 6 =====

PURGE_BIT = 1 << 63


class Key(NamedTuple):
    origin: str
    kind: int
    id: tuple

    def encode(self) -> bytes:
        id_ = u(self.id[0], 2) if self.kind == 1 else short(self.id[0]) + short(self.id[1])
        return bytes([self.kind]) + short(self.origin) + id_


def read_key(reader: Reader) -> Key:
    kind, origin = reader.u8(), reader.node()
    if kind == 1:
        return Key(origin, kind, (reader.u16(),))
    if kind == 2:
        return Key(origin, kind, (reader.name(), reader.node()))
    return malformed(f"kind of LSA {kind}")


class LsaHeader(NamedTuple):
    key: Key
    sequence: int
    digest: int
    remaining: int

    @property
    def version(self) -> tuple[int, int]:
        return self.sequence, self.digest

    def encode(self) -> bytes:
        return self.key.encode() + u(self.sequence, 8) + u(self.digest, 8) + u(self.remaining, 4)


def header_of(value: bytes) -> LsaHeader:
    reader = Reader(value)
    header = LsaHeader(read_key(reader), reader.u64(), reader.u64(), reader.u32())
    reader.end()
    return header


class Lsa(NamedTuple):
    key: Key
    sequence: int
    lifetime: int
    purge: bool
    flags: int
    links: tuple[tuple[str, int], ...]
    metric: int
    weight: int
    instance: bytes | None
    grant: Grant | None
    attached: Certificate | None
    certificate: Certificate
    signature: bytes
    signed: bytes
    remaining: int

    @property
    def version(self) -> tuple[int, int]:
        digest = int.from_bytes(self.signature[:8], "big") & ~PURGE_BIT
        return self.sequence, digest | (PURGE_BIT if self.purge else 0)

    def header(self, remaining: int) -> LsaHeader:
        return LsaHeader(self.key, *self.version, remaining)

    def encode(self, remaining: int) -> bytes:
        return u(remaining, 4) + self.signed + self.signature


def lsa_of(value: bytes) -> Lsa:
    reader = Reader(value)
    remaining = reader.u32()
    key, sequence, lifetime, content = read_key(reader), reader.nonzero(), reader.u32(), reader.u8()
    if content > 1 or remaining > lifetime:
        malformed("content or time left of an LSA")
    flags, links, metric, weight, instance, grant, attached = 0, (), 0, 0, None, None, None
    if content and key.kind == 1:
        flags = reader.flags(0x03)
        links = tuple((reader.node(), reader.u32()) for _ in range(reader.u16()))
        if any(not 1 <= cost <= MAX_COST for _, cost in links):
            malformed("cost of a link")
    elif content:
        flags, metric, weight = reader.flags(0x03), reader.u32(), reader.u16()
        instance = reader.name() if flags & 0x02 else None
        proof = reader.u8()
        if proof == 1:
            grant = read_grant(reader)
        elif proof == 2:
            attached = read_certificate(reader)
        else:
            malformed(f"proof {proof}")
    certificate = read_certificate(reader)
    signed = value[4 : reader.at]
    signature = reader.take(64)
    reader.end()
    return Lsa(
        key, sequence, lifetime, not content, flags, links, metric, weight, instance, grant, attached,
        certificate, signature, signed, remaining,
    )  # fmt: skip
