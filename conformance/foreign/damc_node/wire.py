"""Bytes to values and back: WIRE.md sections 1 to 3. What nodes sign is in `statements`."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

MAX_PDU = 1500
HEADER = struct.Struct("!BBBBHHII")
LINK_MAC_LEN = 16
ROUTED_HEADER = HEADER.size + LINK_MAC_LEN
HOP_MAC_LEN = 27
HOP_LOCAL_ROOM = MAX_PDU - HEADER.size - HOP_MAC_LEN
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
    0x42: "attach",
    0x43: "attach-ack",
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
HOP, SIGNATURE, HOP_MAC, ATTACHMENT, PADDING, TRACE_CONTEXT = 0x0E, 0x8F, 0x90, 0x92, 0x11, 0x13
KNOWN_TLVS = {*range(0x81, 0x8E), HOP, SIGNATURE, HOP_MAC, ATTACHMENT, PADDING, TRACE_CONTEXT}

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

    def encode(self, rest: int) -> bytes:
        """The header before `rest` bytes; the link MAC of a routed one is 0 until it goes out on a link."""
        size = ROUTED_HEADER if self.routed else HEADER.size
        code, length = CODES[self.kind], size + rest
        fixed = HEADER.pack(1, code, self.flags, self.hop_limit, length, self.ahead, self.flow, self.label)
        return fixed.ljust(size, b"\0")


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
    if code >= 0x80 and length < ROUTED_HEADER:
        raise Drop("truncated", "link MAC")
    return Header(TYPES[code], flags, hop_limit, ahead, flow, label), pdu


def hop_local(kind: str, tlvs: bytes) -> bytes:
    return Header(kind).encode(len(tlvs)) + tlvs


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
        return header.encode(len(rest)) + rest


def read_names(pdu: bytes) -> tuple[bytes, bytes, int]:
    """Destination, source, and where the TLVs behind them begin."""
    tlvs = Tlvs(pdu, ROUTED_HEADER)
    destination = check_name(tlvs.require(DESTINATION))
    return destination, check_name(tlvs.require(SOURCE)), tlvs.at


def finish_routed(pdu: bytes, tlvs: Tlvs, hops: bool = False) -> list[bytes]:
    """Verifies the checksum behind the TLVs of a routed message; returns its hops."""
    tlvs.peek()
    at = tlvs.at
    checksum = Reader(tlvs.require(CHECKSUM))
    if checksum.u32() != crc32c(pdu[ROUTED_HEADER:at]):
        raise Drop("bad-checksum")
    checksum.end()
    recorded = tlvs.many(HOP) if hops else []
    for hop in recorded:
        reader = Reader(hop)
        reader.flags(0x01), reader.node(), reader.end()
    tlvs.end()
    return recorded
