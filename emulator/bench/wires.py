"""A graph of network namespaces whose links pass through a namespace of wires, in which they can be cut.

A link is two veth pairs. Their outer ends are the two ports of a bridge in the namespace of wires, so that taking both
down takes the carrier off both routers, as our relay does, and switching both ports off loses frames silently. The
links have no delay. Forwarding is the kernel's, IPv4, and it does not use next hops without carrier. IPv6 is off, which
spares the peers its chatter.
"""

import ipaddress
import json

from lab import run
from namespaces import within
from rtnetlink import Rtnetlink

WIRES = "wires"
LINKS = int(ipaddress.ip_address("10.0.0.0"))
LOOPBACKS = int(ipaddress.ip_address("10.255.0.0"))
# A veth end whose peer has the same index in its own namespace is taken for a device without a peer, and the kernel tells
# of its carrier up to a second late. These indices are nobody else's.
FIRST_INDEX = 10_000
SETTINGS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/ignore_routes_with_linkdown": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
}


def batch(namespace, commands):
    run("ip", *(["-n", namespace] if namespace else []), "-batch", "-", input="\n".join(commands))


class Wires:
    def __init__(self, core):
        self.core = core
        self.label = {name: f"r{number}" for number, name in enumerate(core.nodes)}
        self.number = {link: n for n, link in enumerate(core.links)}
        batch(None, [f"netns add {label}" for label in [WIRES, *self.label.values()]])
        with within(WIRES):
            self._settings()
            self.kernel = Rtnetlink()
        self.fibs = {name: self._prepare(label) for name, label in self.label.items()}
        batch(WIRES, [command for n, link in enumerate(core.links) for command in self._link(n, link)])
        for name in core.nodes:
            batch(self.label[name], self._addresses(name))

    def _settings(self):
        for path, value in SETTINGS.items():
            try:
                with open(f"/proc/sys/{path}", "w") as file:
                    file.write(value)
            except FileNotFoundError:
                continue  # A kernel without IPv6.

    def _prepare(self, label):
        with within(label):
            self._settings()
            return Rtnetlink()

    def _link(self, n, link):
        yield f"link add name w{n} up type bridge mcast_snooping 0"
        for side, name in enumerate(link):
            index = FIRST_INDEX + 2 * n + side
            peer = f"peer name eth{n} netns {self.label[name]}"
            yield f"link add name w{n}p{side} index {index} type veth {peer}"
            yield f"link set dev w{n}p{side} master w{n} up"

    def _addresses(self, name):
        yield "link set dev lo up"
        yield f"addr add {self.loopback(name)}/32 dev lo"
        for n, link in self.of(name):
            yield f"addr add {self._address(n, link.index(name))}/31 dev eth{n}"
            yield f"link set dev eth{n} up"

    def of(self, name):
        """Number and ends of each link of a router."""
        return [(n, link) for n, link in enumerate(self.core.links) if name in link]

    def beyond(self, link):
        """Each router of a link and the address of the other there."""
        n = self.number[link]
        return [(name, self._address(n, 1 - side)) for side, name in enumerate(link)]

    def _address(self, n, side):
        return ipaddress.ip_address(LINKS + 2 * n + side)

    def loopback(self, name):
        return ipaddress.ip_address(LOOPBACKS + 1 + self.core.nodes.index(name))

    # ===== FIBs =====

    def missing(self, name):
        """Destinations that a router has no route for at all."""
        there = self.fibs[name].host_routes()
        return [other for other in self.core.nodes if other != name and self.loopback(other).packed not in there]

    def wrong(self, name, cut=None):
        """Destinations whose next hops are not those that the graph asks for."""
        there = self.fibs[name].host_routes()
        gateway = {}
        for n, link in self.of(name):
            side = 1 - link.index(name)
            gateway[link[side]] = self._address(n, side).packed
        wanted = self.core.fib(name, cut).items()
        return [to for to, by in wanted if there.get(self.loopback(to).packed) != {gateway[hop] for hop in by}]

    def path(self, source, target, stream, packets):
        """Routers that so many packets of a stream really pass, by the counters of the wires; nothing where they do not
        get there on one path."""
        before = self._received()
        stream()
        after, onward = self._received(), {}
        for n, link in enumerate(self.core.links):
            for side, name in enumerate(link):
                if after[f"w{n}p{side}"] - before[f"w{n}p{side}"] >= packets:
                    onward[name] = link[1 - side]
        path = [source]
        while path[-1] in onward and len(path) <= len(self.core.nodes):
            path.append(onward[path[-1]])
        return path if path[-1] == target else []

    def _received(self):
        """Packets that each outer end has had from its router."""
        found = json.loads(run("ip", "-n", WIRES, "-j", "-s", "link", "show"))
        return {device["ifname"]: device["stats64"]["rx"]["packets"] for device in found}

    # ===== faults =====

    def _ends(self, link):
        first = FIRST_INDEX + 2 * self.number[link]
        return [first, first + 1]

    def cut(self, link):
        self.kernel.set_up(self._ends(link), False)

    def silence(self, link):
        self.kernel.set_forwarding(self._ends(link), False)

    def mend(self, link, silent):
        if silent:
            self.kernel.set_forwarding(self._ends(link), True)
        else:
            self.kernel.set_up(self._ends(link), True)
