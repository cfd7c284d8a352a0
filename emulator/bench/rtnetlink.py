"""As much of rtnetlink as the benches of peers need: host routes of a FIB, and several links changed by one message."""

import errno
import os
import socket
import struct

NEWLINK, NEWROUTE, GETROUTE, SETLINK = 16, 24, 26, 19
ERROR, DONE = 2, 3
REQUEST, ACK, DUMP = 1, 4, 0x300
MAIN_TABLE, UNICAST, KERNEL = 254, 1, 2
RTA_DST, RTA_GATEWAY, RTA_MULTIPATH = 1, 5, 9
IFF_UP = 1
PROTINFO, BRPORT_STATE = 12 | 0x8000, 1
BRIDGE_PORT_OFF, BRIDGE_PORT_FORWARDING = 0, 3


def attributes(data):
    """Type and value of each attribute."""
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("HH", data, at)
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += max((length + 3) & ~3, 4)


def hops(data):
    """Gateways of a route of several."""
    at = 0
    while at + 8 <= len(data):
        length = struct.unpack_from("H", data, at)[0]
        yield from (value for kind, value in attributes(data[at + 8 : at + length]) if kind == RTA_GATEWAY)
        at += max((length + 3) & ~3, 8)


class Rtnetlink:
    """A socket of the network namespace in which it is made."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self.socket.bind((0, 0))
        self.socket.settimeout(10)

    def _answers(self):
        while True:
            data = self.socket.recv(1 << 18)
            at = 0
            while at < len(data):
                length, kind = struct.unpack_from("IH", data, at)
                yield kind, data[at + 16 : at + length]
                at += (length + 3) & ~3

    def host_routes(self):
        """Gateways by destination, of all /32 that a routing daemon has put into the main table."""
        request = struct.pack("BBBBBBBBI", socket.AF_INET, 0, 0, 0, MAIN_TABLE, 0, 0, 0, 0)
        self.socket.send(struct.pack("IHHII", 16 + len(request), GETROUTE, REQUEST | DUMP, 1, 0) + request)
        found = {}
        for kind, data in self._answers():
            if kind in (DONE, ERROR):
                return found
            _, bits, _, _, table, protocol, _, form, _ = struct.unpack_from("BBBBBBBBI", data)
            if kind != NEWROUTE or (bits, table, form) != (32, MAIN_TABLE, UNICAST) or protocol <= KERNEL:
                continue
            values = dict(attributes(data[12:]))
            gateways = {values[RTA_GATEWAY]} if RTA_GATEWAY in values else set(hops(values.get(RTA_MULTIPATH, b"")))
            found[values[RTA_DST]] = frozenset(gateways)

    def _change(self, messages):
        """All in one write, so that the kernel serves them one straight after the other."""
        self.socket.send(
            b"".join(
                struct.pack("IHHII", 16 + len(body), kind, REQUEST | ACK, n + 1, 0) + body
                for n, (kind, body) in enumerate(messages)
            )
        )
        answers = self._answers()
        for _ in messages:
            code = -struct.unpack_from("i", next(answers)[1])[0]
            if code:
                raise OSError(code, f"rtnetlink: {errno.errorcode.get(code, code)} {os.strerror(code)}")

    def set_up(self, indices, up):
        """Interfaces up or down."""
        flags = IFF_UP if up else 0
        bodies = [struct.pack("BxHiII", socket.AF_UNSPEC, 0, index, flags, IFF_UP) for index in indices]
        self._change([(NEWLINK, body) for body in bodies])

    def set_forwarding(self, indices, forwarding):
        """Ports of a bridge pass frames, or lose them without touching any carrier."""
        state = BRIDGE_PORT_FORWARDING if forwarding else BRIDGE_PORT_OFF
        inner = struct.pack("HHBxxx", 5, BRPORT_STATE, state)
        outer = struct.pack("HH", 4 + len(inner), PROTINFO) + inner
        bodies = [struct.pack("BxHiII", socket.AF_BRIDGE, 0, index, 0, 0) + outer for index in indices]
        self._change([(SETLINK, body) for body in bodies])
