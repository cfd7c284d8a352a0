"""The test vectors of nodes/wire, read by this node: `python3 -m unittest` in this folder."""

from __future__ import annotations

import unittest
from pathlib import Path

from damc_node import announcing, calling, link_mac, qos, statements, trust, wire
from damc_node.adjacency import Hello
from damc_node.wire import Drop, Reader, Tlvs

VECTORS = Path(__file__).resolve().parents[2] / "nodes/wire/tests/vectors"
NOW_MS = 1_000


def vector(path: Path) -> tuple[list[str], bytes]:
    """Comments and bytes of a file."""
    lines = path.read_text().splitlines()
    comments = [line.removeprefix("# ") for line in lines if line.startswith("#")]
    return comments, bytes.fromhex("".join(line for line in lines if not line.startswith("#")))


def fields(value: bytes, *sizes: int) -> list[int]:
    reader = Reader(value)
    numbers = [reader.number(size) for size in sizes]
    reader.end()
    return numbers


def exactly(left: object, right: object) -> None:
    if left != right:
        raise AssertionError(f"{left!r} != {right!r}")


def read_lsas(tlvs: Tlvs) -> list[statements.Lsa]:
    values = tlvs.many(wire.LSA, 1)
    lsas = [statements.lsa_of(value) for value in values]
    exactly([lsa.encode(lsa.remaining) for lsa in lsas], values)
    return lsas


def read_headers(tlvs: Tlvs, at_least: int = 1) -> list[statements.LsaHeader]:
    values = tlvs.many(wire.LSA_HEADER, at_least)
    headers = [statements.header_of(value) for value in values]
    exactly([header.encode() for header in headers], values)
    return headers


def read_local(kind: str, pdu: bytes) -> object:
    """What a hop-local message says, as far as a node of these roles reads it."""
    if kind == "hello":
        return Hello(pdu)
    tlvs = Tlvs(pdu, wire.HEADER.size)
    value: object = None
    if kind in ("ls-update", "topology"):
        value = read_lsas(tlvs)
    elif kind in ("ls-ack", "ls-request", "topology-ack"):
        value = read_headers(tlvs)
    elif kind == "attach":
        value = statements.attachment_of(tlvs.require(wire.ATTACHMENT))
    else:
        body = tlvs.require(wire.BODY)
        if kind == "echo":
            value = fields(body, 4, 8, 8, 8)
        elif kind == "db-summary":
            value = fields(body, 4, 2, 1), read_headers(tlvs, 0)
        elif kind == "announce":
            value = announcing.announce_of(Reader(body), tlvs)
            tlvs.require(wire.SIGNATURE)
        elif kind == "auth-request":
            sealed = pdu[-wire.HOP_MAC_LEN :].startswith(bytes([wire.HOP_MAC, 0, 24]))
            return announcing.auth_request_of(Tlvs(pdu[: -wire.HOP_MAC_LEN] if sealed else pdu, wire.HEADER.size))
        elif kind in ("revoke-ack", "attach-ack"):
            value = fields(body, 8)
        else:  # Read by SGs only, or by nobody here.
            while tlvs.peek() not in (wire.HOP_MAC, None):
                tlvs.require(tlvs.peek())
    if mac := tlvs.optional(wire.HOP_MAC):
        Reader(mac).take(24)
    tlvs.end()
    return value


def read_routed(header: wire.Header, pdu: bytes) -> object:
    destination, source, at = wire.read_names(pdu)
    tlvs = Tlvs(pdu, at)
    if header.kind == "data":
        body, payload = tlvs.require(wire.BODY), tlvs.require(wire.PAYLOAD)
        context = calling.context_of(tlvs, body)
        end = tlvs.at
        hops = wire.finish_routed(pdu, tlvs, hops=True)
        sent = wire.Routed("data", destination, source, pdu[at:end], header.flow, header.label, header.hop_limit,
                           header.flags, hops)  # fmt: skip
        if not header.ahead:
            exactly(sent.encode(), pdu[: wire.HEADER.size] + bytes(16) + pdu[wire.ROUTED_HEADER :])
        return calling.data_of(body, payload, hops, context)
    value: object = None
    if header.kind == "policy":
        value = qos.policy_of(tlvs.require(wire.BODY))
    elif header.kind in ("probe", "probe-reply"):
        value = fields(tlvs.require(wire.BODY), 8, 4, 2, 2, 8, 8, 8)
        padding = tlvs.optional(wire.PADDING)
        if value[2] >= value[3] or (padding is not None and (not padding or any(padding))):
            wire.malformed("probe")
    elif header.kind == "task":
        value = fields(tlvs.require(wire.BODY), 8)
    while tlvs.peek() not in (wire.CHECKSUM, None):
        tlvs.require(tlvs.peek())
    wire.finish_routed(pdu, tlvs)
    return value


def read(pdu: bytes) -> tuple[wire.Header, object]:
    header, pdu = wire.read_header(pdu)
    return header, read_routed(header, pdu) if header.routed else read_local(header.kind, pdu)


class Vectors(unittest.TestCase):
    def test_every_message_is_read(self) -> None:
        kinds = set()
        for path in sorted(VECTORS.glob("*.hex")):
            with self.subTest(path.stem):
                comments, pdu = vector(path)
                header, _ = read(pdu)
                self.assertTrue(comments[0].startswith(header.kind))
                kinds.add(header.kind)
        self.assertEqual(kinds, set(wire.CODES))

    def test_values(self) -> None:
        data = read(vector(VECTORS / "data-request.hex")[1])[1]
        self.assertEqual((data.method, data.payload, data.deadline, len(data.hops)), ("add", b"2 3", 1000, 2))
        (pool,) = read(vector(VECTORS / "ls-update-pool.hex")[1])[1]
        self.assertEqual((pool.flags, wire.text_of(pool.instance), pool.grant.exact), (3, "/A/1", True))
        policy = read(vector(VECTORS / "policy-ingress.hex")[1])[1]
        self.assertEqual((policy.label, policy.next_hop), (9, "sr-right"))
        attachment = read(vector(VECTORS / "attach.hex")[1])[1]
        self.assertEqual((attachment.router, attachment.issued_at, attachment.expires_at), ("sr-left", 2000, 602000))
        (attached,) = read(vector(VECTORS / "ls-update-attached.hex")[1])[1]
        self.assertEqual(attached.attached, attachment)

    def test_malformed_frames_have_their_reason(self) -> None:
        paths = sorted((VECTORS / "malformed").glob("*.hex"))
        self.assertGreater(len(paths), 25)
        for path in paths:
            with self.subTest(path.stem):
                comments, pdu = vector(path)
                with self.assertRaises(Drop) as dropped:
                    read(pdu)
                self.assertEqual(dropped.exception.reason, comments[0])

    def test_forwarded_frames(self) -> None:
        seen = {}
        for path in (VECTORS / "forwarded").glob("*.hex"):
            header, _ = read(vector(path)[1])
            seen[path.stem] = header.ahead, bool(header.flags & wire.UPHILL), header.hop_limit
        expected = {"ahead": (12, False, 63), "uphill": (12, True, 63), "not-known": (0, False, 63)}
        self.assertEqual(seen, expected)

    def test_signatures_verify(self) -> None:
        for path in sorted((VECTORS / "signed").glob("*.hex")):
            with self.subTest(path.stem):
                comments, pdu = vector(path)
                said = dict(line.rsplit(" ", 1) for line in comments if " key " in line or " secret " in line)
                verifier = trust.Verifier(bytes.fromhex(said["root key"]), "example")
                header, value = read(pdu)
                self.verify(verifier, header, value, pdu)
                stranger = trust.Verifier(bytes.fromhex(said["root secret"]), "example")
                with self.assertRaises(Drop):
                    self.verify(stranger, header, value, pdu)

    def verify(self, verifier: trust.Verifier, header: wire.Header, value: object, pdu: bytes) -> None:
        if header.kind == "hello":
            verifier.certificate(value.certificate, ("sg",))
            covered = value.body + value.certificate.raw
            verifier.signed(value.certificate, "damc hello v1", covered, value.signature)
        elif header.kind == "announce":
            pod = read(vector(VECTORS / "signed/auth-request.hex")[1])[1].certificate
            verifier.certificate(pod, ("pod",))
            verifier.signed(pod, announcing.CONTEXT, value.fields() + value.entries(), pdu[-64:])
        elif header.kind == "auth-request":
            verifier.certificate(value.certificate, ("pod",))
            covered = value.announce.fields() + value.announce.entries()
            verifier.signed(value.certificate, announcing.CONTEXT, covered, value.signature)
        elif header.kind == "ls-update":
            for lsa in value:
                verifier.lsa(lsa, NOW_MS)
        else:
            destination, source, at = wire.read_names(pdu)
            verifier.routed(header.kind, destination, source, pdu[at:-7], ("sg",))

    def test_hop_security(self) -> None:
        """The vector of WIRE.md section 5, and the window."""
        key = trust.hop_key(b"\7" * 32, ("sr-left", 2), ("sg-1", 1))
        self.assertEqual(key.hex(), "53f922c6d29f580bbe76247bca99c8ac7e8ab4c3e8257c801a264b1f125327ef")
        self.assertEqual(trust.hop_mac(key, "sr-left", b"hello").hex(), "81665b90d1f784735b086d4aeaeed0a4")
        link = link_mac.link_key(key, "sr-left")
        self.assertEqual(link.hex(), "c2faf56b6b1cd7b70bbb7b731e4b539e689112327ad11044796cf29b77df67ce")
        window = trust.Window()
        taken = [window.accept(counter) for counter in (0, 3, 1, 3, 70, 6, 7, 7)]
        self.assertEqual(taken, [False, True, True, False, True, False, True, False])

    def test_link_mac(self) -> None:
        _, pdu = vector(VECTORS / "data-on-a-link.hex")
        key, bare = b"\7" * 32, pdu[:16] + bytes(16) + pdu[32:]
        link_mac.check(key, pdu)
        self.assertEqual(link_mac.seal(key, bare), pdu)
        changed = [pdu[:at] + bytes([pdu[at] ^ 0x10]) + pdu[at + 1 :] for at in range(len(pdu))]
        for frame, reason in [(bare, "missing-mac"), *((frame, "bad-mac") for frame in changed)]:
            with self.assertRaises(Drop) as dropped:
                link_mac.check(key, frame)
            self.assertEqual(dropped.exception.reason, reason)

    def test_highway_hash(self) -> None:
        """Published vectors of the 64-bit hash, which ends two rounds earlier: key 0, 1, …, 31; no byte, 0, 0 1, 0 1 2."""
        seen = []
        for length in range(4):
            state = link_mac.Highway(bytes(range(32)))
            state.append(bytes(range(length)))
            state.permute(4)
            seen.append((state.v0[0] + state.v1[0] + state.mul0[0] + state.mul1[0]) & wire.U64)
        expected = [0x907A56DE22C26E53, 0x7EAB43AAC7CDDD78, 0xB8D0569AB0B53D62, 0x5C6BEFAB8A463D80]
        self.assertEqual(seen, expected)


if __name__ == "__main__":
    unittest.main()
