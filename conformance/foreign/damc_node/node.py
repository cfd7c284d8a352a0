"""What all roles share: configuration, ports, time, output, signals: LAB.md sections 2 to 6."""

from __future__ import annotations

import fcntl
import json
import selectors
import signal
import socket
import struct
import sys
import time
from collections import Counter, deque
from pathlib import Path

from . import link_mac, management, trust, wire
from .adjacency import Adjacency
from .wire import Drop

ETHERTYPE = 0x88B5
OUTGOING = 4  # PACKET_OUTGOING: our own frames
SIOCGIFFLAGS, IFF_RUNNING = 0x8913, 0x40
RTMGRP_LINK, RTM_NEWLINK = 1, 16
TICK = 0.005
EVENTS_KEPT, ROUTED_WAITING = 4096, 1024
VERSION = "0.1"


class Port:
    """One interface, and the adjacency over it."""

    def __init__(self, node: Node, config: dict) -> None:
        self.node, self.name, self.interface = node, config["name"], config["interface"]
        self.cost, self.peer_role = config["cost"], config["peer_role"]
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.bind((self.interface, ETHERTYPE))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.setblocking(False)
        address = self.socket.getsockname()[4]
        self.head = b"\xff" * 6 + address + ETHERTYPE.to_bytes(2, "big")
        self.index = socket.if_nametoindex(self.interface)
        request = struct.pack("16sh14x", self.interface.encode(), 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(self.socket, SIOCGIFFLAGS, request))[1]
        self.carrier = bool(flags & IFF_RUNNING)
        self.adjacency = Adjacency(node, self)

    def send(self, pdu: bytes) -> None:
        try:
            self.socket.send(self.head + pdu)
        except OSError:  # No carrier, or the queue is full.
            self.node.count("dropped", "send-failed")

    def send_routed(self, pdu: bytes) -> None:
        """Sends a routed PDU under the link MAC, the last thing that is done to it."""
        if (peer := self.adjacency.peer) is None:
            self.node.count("dropped", "port-down")
        else:
            self.send(link_mac.seal(peer.link_keys[0], pdu) if self.node.link_macs else pdu)

    def check_routed(self, pdu: bytes) -> None:
        """Names and link MAC of a routed PDU that came in here, before anything else is asked of it."""
        wire.read_names(pdu)
        if (peer := self.adjacency.peer) is None:
            raise Drop("no-adjacency", self.name)
        if self.node.link_macs:
            link_mac.check(peer.link_keys[1], pdu)

    @property
    def peer(self) -> str | None:
        """The neighbour, if the adjacency is full."""
        return self.name if self.adjacency.state == "full" else None


class Node:
    """A node of any role; a role is a subclass."""

    def __init__(self, config: dict) -> None:
        self.config = config
        self.id, self.role, self.domain = config["node"], config["role"], config["domain"]
        self.name = wire.node_name(self.domain, self.id)
        self.pace, self.link_macs = config["pace"], config.get("link_macs", True)
        self.keys = trust.Keys(config["identity"])
        self.verifier = trust.Verifier(bytes.fromhex(config["identity"]["root_key"]), self.domain)
        self.counters = {"received": Counter(), "sent": Counter(), "dropped": Counter(), "protocol": Counter()}
        self.events: deque[dict] = deque(maxlen=EVENTS_KEPT)
        self.event_count = 0
        self.ending, self.has_management = False, True
        self.routed: deque[tuple[float, Port, bytes]] = deque()
        self.ports = [Port(self, port) for port in config["ports"]]
        self.port_of = {port.name: port for port in self.ports}
        self.selector = selectors.DefaultSelector()
        for port in self.ports:
            self.selector.register(port.socket, selectors.EVENT_READ, lambda port=port: self.receive_all(port))
        self.links = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        self.links.bind((0, RTMGRP_LINK))
        self.links.setblocking(False)
        self.selector.register(self.links, selectors.EVENT_READ, self.receive_links)

    # ===== what roles do =====

    def neighbour_two_way(self, now: float, port: Port) -> None: ...

    def neighbour_full(self, now: float, port: Port) -> None: ...

    def neighbour_down(self, now: float, port: Port) -> None: ...

    def handle_local(self, now: float, port: Port, kind: str, tlvs: wire.Tlvs) -> None:
        raise Drop("wrong-role", kind)

    def handle_routed(self, now: float, port: Port, header: wire.Header, pdu: bytes) -> None:
        raise Drop("wrong-role", header.kind)

    def tick(self, now: float) -> None: ...

    def views(self) -> dict:
        """Paths of the management interface and what they show."""
        return {}

    def actions(self) -> dict:
        """Paths of the management interface that act: each a function of the JSON and of where the answer goes."""
        return {}

    def more_counters(self) -> dict:
        return {"forwarded": 0, "delivered": 0}

    def unacknowledged(self, port: Port) -> int:
        return 0

    def stop(self, now: float) -> None: ...

    # ===== the loop =====

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self.end)
        if self.has_management:
            management.serve(self)
        print(f"version damc-foreign-{self.role} {VERSION}", flush=True)
        print("ready", flush=True)
        self.event("ready")
        while not self.ending:
            for key, _ in self.selector.select(0 if self.routed else TICK):
                key.data()
            self.handle_waiting()
            now = time.monotonic()
            for port in self.ports:
                port.adjacency.tick(now)
            self.tick(now)
        self.stop(time.monotonic())
        for port in self.ports:
            port.adjacency.leave()
        if self.has_management:
            management.end(self)

    def end(self, *_: object) -> None:
        self.ending = True

    def receive_all(self, port: Port) -> None:
        """Reads what came in by a port. What keeps the network together goes first, however much is to be carried."""
        until = time.monotonic() + TICK
        while (now := time.monotonic()) < until:
            try:
                frame, address = port.socket.recvfrom(65536)
            except OSError:
                return
            if address[2] == OUTGOING:
                continue
            if frame[15:16] < b"\x80":
                self.receive(now, port, frame[14:])
            elif len(self.routed) < ROUTED_WAITING:
                self.routed.append((now, port, frame[14:]))
            else:
                self.count("dropped", "queue-full")

    def handle_waiting(self) -> None:
        until = time.monotonic() + TICK
        while self.routed and time.monotonic() < until:
            self.receive(*self.routed.popleft())

    def receive(self, now: float, port: Port, payload: bytes) -> None:
        try:
            header, pdu = wire.read_header(payload)
            self.count("received", header.kind)
            if header.routed:
                port.check_routed(pdu)
                self.handle_routed(now, port, header, pdu)
            elif (tlvs := port.adjacency.receive(now, header.kind, pdu)) is not None:
                self.handle_local(now, port, header.kind, tlvs)
        except Drop as drop:
            self.count("dropped", drop.reason)
            self.event("dropped", port=port.name, reason=drop.reason, detail=str(drop))

    def receive_links(self) -> None:
        """Carrier changes: rtnetlink(7) messages about links."""
        data = self.links.recv(65536)
        while len(data) >= 32:
            length, kind = struct.unpack_from("=IH", data)
            index, flags = struct.unpack_from("=iI", data, 20)
            if kind == RTM_NEWLINK:
                for port in (port for port in self.ports if port.index == index):
                    up = bool(flags & IFF_RUNNING)
                    if up != port.carrier:
                        port.carrier = up
                        port.adjacency.carrier(time.monotonic(), up)
            data = data[(length + 3) & ~3 :]

    # ===== small things =====

    def seconds(self, timer: str) -> float:
        return self.pace[timer] / 1e3

    def count(self, group: str, label: str, by: int = 1) -> None:
        self.counters[group][label] += by

    def event(self, kind: str, **members: object) -> None:
        at_ns = time.monotonic_ns()
        self.events.append({"at_ns": at_ns, "sequence": self.event_count, "event": kind, **members})
        self.event_count += 1


def load() -> dict:
    """The configuration named by the command line."""
    return json.loads(Path(sys.argv[-1]).read_text())
