"""What nodes sign, from bytes: certificates, grants, attachments, LSAs: WIRE.md sections 4 and 6."""

from __future__ import annotations

from typing import NamedTuple

from .wire import ROLES, Drop, Reader, malformed, short, u

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


class Attachment(NamedTuple):
    router: str
    issued_at: int
    expires_at: int
    certificate: Certificate
    signature: bytes
    raw: bytes


def read_attachment(reader: Reader) -> Attachment:
    start = reader.at
    router, issued_at, expires_at = reader.node(), reader.u64(), reader.u64()
    certificate = read_certificate(reader)
    signature = reader.take(64)
    return Attachment(router, issued_at, expires_at, certificate, signature, reader.value[start : reader.at])


def attachment_of(value: bytes) -> Attachment:
    reader = Reader(value)
    attachment = read_attachment(reader)
    reader.end()
    return attachment


# ===== LSAs, section 6 =====

MAX_COST = 16_777_215

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
    attached: Attachment | None
    certificate: Certificate
    signature: bytes
    signed: bytes
    remaining: int

    @property
    def proof(self) -> Grant | Attachment | None:
        return self.grant or self.attached

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
        elif proof == 3:
            attached = read_attachment(reader)
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
