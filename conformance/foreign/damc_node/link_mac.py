"""The MAC of a routed PDU on one link, HighwayHash-128: WIRE.md section 5."""

from __future__ import annotations

import hmac
import struct

from .wire import HEADER, LINK_MAC_LEN, ROUTED_HEADER, Drop

_LANES = struct.Struct("<4Q")
_LOW, _ALL = 0xFFFFFFFF, (1 << 64) - 1
_MUL0 = 0xDBE6D5D5FE4CCE2F, 0xA4093822299F31D0, 0x13198A2E03707344, 0x243F6A8885A308D3
_MUL1 = 0x3BD39E10CB0EF593, 0xC0ACF169B5F18A8C, 0xBE5466CF34E90C6C, 0x452821E638D01377
# Which byte of each half of 16 comes where. As a text that a table of the lanes translates, it moves all of them at once.
_ZIPPER = bytes((3, 12, 2, 5, 14, 1, 15, 0, 11, 4, 10, 13, 9, 6, 8, 7))
_ZIPPER += bytes(16 + place for place in _ZIPPER)
_PAD = bytes(256 - len(_ZIPPER))


def _zipped(a: int, b: int, c: int, d: int) -> tuple[int, ...]:
    return _LANES.unpack(_ZIPPER.translate(_LANES.pack(a, b, c, d) + _PAD))


def _swap(lane: int) -> int:
    return lane >> 32 | (lane & _LOW) << 32


class Highway:
    """The state of the hash. Written out for four lanes: this is the time that a frame costs."""

    def __init__(self, key: bytes) -> None:
        words = _LANES.unpack(key)
        self.v0 = tuple(mul ^ word for mul, word in zip(_MUL0, words, strict=True))
        self.v1 = tuple(mul ^ _swap(word) for mul, word in zip(_MUL1, words, strict=True))
        self.mul0, self.mul1 = _MUL0, _MUL1

    def update(self, packets: list[tuple[int, ...]]) -> None:
        (a0, a1, a2, a3), (b0, b1, b2, b3) = self.v0, self.v1
        (m0, m1, m2, m3), (n0, n1, n2, n3) = self.mul0, self.mul1
        for w0, w1, w2, w3 in packets:
            b0, b1 = (b0 + m0 + w0) & _ALL, (b1 + m1 + w1) & _ALL
            b2, b3 = (b2 + m2 + w2) & _ALL, (b3 + m3 + w3) & _ALL
            m0, m1 = m0 ^ (b0 & _LOW) * (a0 >> 32), m1 ^ (b1 & _LOW) * (a1 >> 32)
            m2, m3 = m2 ^ (b2 & _LOW) * (a2 >> 32), m3 ^ (b3 & _LOW) * (a3 >> 32)
            a0, a1, a2, a3 = (a0 + n0) & _ALL, (a1 + n1) & _ALL, (a2 + n2) & _ALL, (a3 + n3) & _ALL
            n0, n1 = n0 ^ (a0 & _LOW) * (b0 >> 32), n1 ^ (a1 & _LOW) * (b1 >> 32)
            n2, n3 = n2 ^ (a2 & _LOW) * (b2 >> 32), n3 ^ (a3 & _LOW) * (b3 >> 32)
            z0, z1, z2, z3 = _zipped(b0, b1, b2, b3)
            a0, a1, a2, a3 = (a0 + z0) & _ALL, (a1 + z1) & _ALL, (a2 + z2) & _ALL, (a3 + z3) & _ALL
            z0, z1, z2, z3 = _zipped(a0, a1, a2, a3)
            b0, b1, b2, b3 = (b0 + z0) & _ALL, (b1 + z1) & _ALL, (b2 + z2) & _ALL, (b3 + z3) & _ALL
        self.v0, self.v1 = (a0, a1, a2, a3), (b0, b1, b2, b3)
        self.mul0, self.mul1 = (m0, m1, m2, m3), (n0, n1, n2, n3)

    def append(self, data: bytes) -> None:
        """All of the data, once."""
        whole = len(data) & ~31
        self.update(list(_LANES.iter_unpack(data[:whole])))
        if whole < len(data):
            self.remainder(data[whole:])

    def remainder(self, rest: bytes) -> None:
        """The 1 to 31 bytes behind the last whole packet."""
        size = len(rest)
        self.v0 = tuple((lane + (size << 32) + size) & _ALL for lane in self.v0)
        self.v1 = tuple(_turned(lane & _LOW, size) | _turned(lane >> 32, size) << 32 for lane in self.v1)
        whole, odd = size & ~3, size & 3
        packet = bytearray(rest[:whole].ljust(32, b"\0"))
        if size & 16:
            packet[28:] = rest[-4:]
        elif odd:
            tail = rest[whole:]
            packet[16:19] = bytes((tail[0], tail[odd >> 1], tail[odd - 1]))
        self.update([_LANES.unpack(packet)])

    def permute(self, times: int) -> None:
        for _ in range(times):
            a0, a1, a2, a3 = self.v0
            self.update([(_swap(a2), _swap(a3), _swap(a0), _swap(a1))])

    def end(self) -> bytes:
        """128 bits."""
        self.permute(6)
        sums = zip(self.v0[:2], self.mul0[:2], self.v1[2:], self.mul1[2:], strict=True)
        return struct.pack("<2Q", *(sum(lanes) & _ALL for lanes in sums))


def _turned(half: int, by: int) -> int:
    return (half << by | half >> (32 - by)) & _LOW


def highway_hash_128(key: bytes, data: bytes) -> bytes:
    state = Highway(key)
    state.append(data)
    return state.end()


def link_key(hop_key: bytes, sender: str) -> bytes:
    return hmac.digest(hop_key, b"damc link v1\0" + sender.encode(), "sha256")


def link_mac(key: bytes, pdu: bytes) -> bytes:
    """The MAC of a routed PDU, whatever its field holds."""
    return highway_hash_128(key, pdu[: HEADER.size] + pdu[ROUTED_HEADER:])


def seal(key: bytes, pdu: bytes) -> bytes:
    return pdu[: HEADER.size] + link_mac(key, pdu) + pdu[ROUTED_HEADER:]


def check(key: bytes, pdu: bytes) -> None:
    carried = pdu[HEADER.size : ROUTED_HEADER]
    if carried == bytes(LINK_MAC_LEN):
        raise Drop("missing-mac")
    if not hmac.compare_digest(carried, link_mac(key, pdu)):
        raise Drop("bad-mac")
