"""Signatures, grants, attachments and hop security: WIRE.md sections 4 and 5."""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from . import statements, wire
from .statements import Attachment, Certificate, Grant, Lsa
from .wire import Drop, u

# The encodings of the points of small order (y = 0, 1, -1 and two of order 8, with and without the sign of x, and those
# that are not reduced). A key out of these verifies too much.
_P = 2**255 - 19
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_Y = {0, 1, _P - 1, _ORDER_8, _P - _ORDER_8, _P, _P + 1}
_GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


def small_order(key: bytes) -> bool:
    return int.from_bytes(key, "little") & ~(1 << 255) in _SMALL_Y


class Verifier:
    """Believes what the domain's root certified. Remembers what verified: LSAs come again and again."""

    def __init__(self, root_key: bytes, domain: str) -> None:
        self.root_key, self.domain = root_key, domain
        self._verified: set[tuple[bytes, bytes, bytes]] = set()
        self._clocks: dict[str, int] = {}  # the clock of an SPA or SCSC less ours, ms

    def _check(self, key: bytes, context: str, covered: bytes, signature: bytes, reason: str) -> None:
        signed = context.encode() + b"\0" + covered
        seen = key, signature, hashlib.sha256(signed).digest()
        if seen in self._verified:
            return
        if small_order(key) or small_order(signature[:32]) or int.from_bytes(signature[32:], "little") >= _GROUP_ORDER:
            raise Drop(reason, context)
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
        except (InvalidSignature, ValueError):
            raise Drop(reason, context) from None
        if len(self._verified) >= 65536:
            self._verified.clear()
        self._verified.add(seen)

    def certificate(self, certificate: Certificate, roles: tuple[str, ...], node: str | None = None) -> None:
        if certificate.domain != self.domain:
            raise Drop("domain-mismatch", certificate.domain)
        covered = certificate.raw[:-64]
        self._check(self.root_key, "damc certificate v1", covered, certificate.signature, "bad-certificate")
        if certificate.role not in roles:
            raise Drop("wrong-role", certificate.role)
        if node is not None and certificate.node != node:
            raise Drop("not-authorised", f"{certificate.node} speaks for {node}")

    def signed(self, certificate: Certificate, context: str, covered: bytes, signature: bytes) -> None:
        self._check(certificate.signing_key, context, covered, signature, "bad-signature")

    def grant(self, grant: Grant, now_ms: int) -> None:
        self.certificate(grant.certificate, ("spa",))
        self.signed(grant.certificate, "damc grant v1", grant.raw[:-64], grant.signature)
        if not grant.certificate.may_grant(grant.prefix, grant.exact):
            raise Drop("not-authorised", wire.text_of(grant.prefix))
        self.in_force(grant, now_ms)

    def attachment(self, attachment: Attachment, now_ms: int) -> None:
        self.certificate(attachment.certificate, ("scsc",))
        self.signed(attachment.certificate, "damc attachment v1", attachment.raw[:-64], attachment.signature)
        self.in_force(attachment, now_ms)

    def in_force(self, proof: Grant | Attachment, now_ms: int) -> None:
        """Learns from what has verified what time it is at its issuer."""
        issuer, ahead = proof.certificate.node, proof.issued_at - now_ms
        self._clocks[issuer] = max(self._clocks.get(issuer, ahead), ahead)
        if self.left(proof, now_ms) <= 0:
            raise Drop("grant-expired", f"issued by {issuer}")

    def left(self, proof: Grant | Attachment, now_ms: int) -> int:
        """What is left of a grant or attachment by its issuer's clock, ms."""
        return proof.expires_at - (now_ms + self._clocks[proof.certificate.node])

    def lsa(self, lsa: Lsa, now_ms: int) -> None:
        self.certificate(lsa.certificate, ("sg", "sr"), lsa.key.origin)
        self.signed(lsa.certificate, "damc lsa v1", lsa.signed, lsa.signature)
        if lsa.grant:
            self.grant(lsa.grant, now_ms)
            prefix, port = lsa.key.id
            claimed = lsa.key.origin, port, prefix, bool(lsa.flags & 1)
            granted = lsa.grant.sg, lsa.grant.pod, lsa.grant.prefix, lsa.grant.exact
            if claimed != granted or wire.components(prefix)[0] == b"\x04damc":
                raise Drop("not-authorised", f"the grant is for {granted}")
        elif lsa.attached:
            self.attachment(lsa.attached, now_ms)
            scsc = lsa.attached.certificate.node
            if lsa.key.id != (wire.node_name(self.domain, scsc), scsc) or lsa.attached.router != lsa.key.origin:
                raise Drop("not-authorised", f"{scsc} is attached to {lsa.attached.router}")

    def routed(self, kind: str, destination: bytes, source: bytes, tlvs: bytes, roles: tuple[str, ...]) -> Certificate:
        """Checks a signed routed message whose last two TLVs are certificate and signature."""
        at = len(tlvs) - 64
        reader = wire.Tlvs(tlvs, 0)
        while reader.peek() not in (wire.CERTIFICATE, None):
            reader.require(reader.peek())
        certificate = statements.certificate_of(reader.require(wire.CERTIFICATE))
        if source != wire.node_name(self.domain, certificate.node):
            raise Drop("not-authorised", f"{certificate.node} speaks for {wire.text_of(source)}")
        self.certificate(certificate, roles)
        covered = wire.tlv(wire.DESTINATION, destination) + wire.tlv(wire.SOURCE, source) + tlvs[: at - 3]
        self.signed(certificate, "damc qos v1", bytes([wire.CODES[kind]]) + covered, tlvs[at:])
        return certificate


class Keys:
    """What a node signs and agrees with."""

    def __init__(self, identity: dict) -> None:
        self.certificate = statements.certificate_of(bytes.fromhex(identity["certificate"]))
        self._signing = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(identity["signing_secret"]))
        self._agreement = X25519PrivateKey.from_private_bytes(bytes.fromhex(identity["agreement_secret"]))

    def sign(self, context: str, covered: bytes) -> bytes:
        return self._signing.sign(context.encode() + b"\0" + covered)

    def routed(self, kind: str, destination: bytes, source: bytes, tlvs: bytes) -> bytes:
        """The TLVs of a signed routed message."""
        tlvs += wire.tlv(wire.CERTIFICATE, self.certificate.raw)
        names = wire.tlv(wire.DESTINATION, destination) + wire.tlv(wire.SOURCE, source)
        signature = self.sign("damc qos v1", bytes([wire.CODES[kind]]) + names + tlvs)
        return tlvs + wire.tlv(wire.SIGNATURE, signature)

    def shared_with(self, certificate: Certificate) -> bytes:
        try:
            return self._agreement.exchange(X25519PublicKey.from_public_bytes(certificate.agreement_key))
        except ValueError:
            raise Drop("bad-certificate", "agreement key") from None


def hop_key(shared: bytes, a: tuple[str, int], b: tuple[str, int]) -> bytes:
    lower, higher = sorted((a, b), key=lambda end: end[0].encode())
    ends = b"".join(node.encode() + b"\0" + u(session, 8) for node, session in (lower, higher))
    return hmac.digest(shared, b"damc hop v1\0" + ends, "sha256")


def hop_mac(key: bytes, sender: str, covered: bytes) -> bytes:
    return hmac.digest(key, sender.encode() + b"\0" + covered, "sha256")[:16]


class Window:
    """Accepts every counter once, in any order if it is less than 64 below the highest."""

    def __init__(self) -> None:
        self.highest, self.seen = 0, 0

    def accept(self, counter: int) -> bool:
        if counter > self.highest:
            self.seen = (self.seen << (counter - self.highest) | 1) & wire.U64 if counter - self.highest < 64 else 1
            self.highest = counter
            return True
        behind = self.highest - counter
        if behind >= 64 or counter == 0 or self.seen >> behind & 1:
            return False
        self.seen |= 1 << behind
        return True


class Security(NamedTuple):
    covered: bytes
    counter: int
    mac: bytes


def open_hop(pdu: bytes) -> Security:
    """What the MAC of a hop-local PDU covers, its counter and the MAC."""
    tail = pdu[-wire.HOP_MAC_LEN :]
    if len(pdu) < wire.HEADER.size + wire.HOP_MAC_LEN or tail[:3] != bytes([wire.HOP_MAC, 0, 24]):
        raise Drop("missing-mac")
    return Security(pdu[:-16], int.from_bytes(tail[3:11], "big"), tail[11:])


def seal(key: bytes, sender: str, counter: int, kind: str, tlvs: bytes) -> bytes:
    """A hop-local PDU under the hop MAC."""
    covered = (
        wire.Header(kind).encode(len(tlvs) + wire.HOP_MAC_LEN) + tlvs + bytes([wire.HOP_MAC, 0, 24]) + u(counter, 8)
    )
    return covered + hop_mac(key, sender, covered)
