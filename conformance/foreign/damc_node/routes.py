"""Routes: WIRE.md section 13."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import wire

if TYPE_CHECKING:
    from .database import Database
    from .statements import Lsa

OVERLOAD, STUB, EXACT = 0x01, 0x02, 0x01
UNREACHABLE = 0xFFFFFFFF


@dataclass
class Route:
    """One entry of the forwarding table."""

    prefix: bytes
    cost: int
    exact: bool = False
    deliver: bool = False
    local: bool = False  # leads to a port of an attached node
    origins: list[str] = field(default_factory=list)
    next_hops: dict[str, int] = field(default_factory=dict)  # neighbour -> weight


class Graph:
    """The topology as the LSAs tell it."""

    def __init__(self, database: Database) -> None:
        self.flags: dict[str, int] = {}
        self.links: dict[str, dict[str, int]] = {}
        for key, stored in database.stored.items():
            if key.kind == 1 and not stored.lsa.purge:
                links = self.links.setdefault(key.origin, {})
                for neighbour, cost in stored.lsa.links:
                    links[neighbour] = min(cost, links.get(neighbour, cost))
                if key.id[0] == 0:
                    self.flags[key.origin] = stored.lsa.flags

    def edges(self, node: str) -> list[tuple[str, int]]:
        """Edges that both ends list, to nodes with a fragment 0."""
        near = self.links.get(node, {}).items()
        return [(far, cost) for far, cost in near if far in self.flags and node in self.links.get(far, {})]

    def paths(self, start: str) -> dict[str, tuple[int, set[str]]]:
        """Cost and first hops of all shortest paths from a node."""
        found: dict[str, tuple[int, set[str]]] = {start: (0, set())}
        queue, done = [(0, start)], set()
        while queue:
            cost, node = heapq.heappop(queue)
            if node in done:
                continue
            done.add(node)
            if node != start and self.flags[node] & (OVERLOAD | STUB):
                continue
            for far, step in self.edges(node):
                total, first = cost + step, found[node][1] or {far}
                known = found.get(far)
                if known is None or total < known[0]:
                    found[far] = total, set(first)
                    heapq.heappush(queue, (total, far))
                elif total == known[0]:
                    known[1].update(first)
        return found


def compute(database: Database, own: str, domain: str, attached: dict[str, int]) -> dict[bytes, Route]:
    """The forwarding table. `attached`: full neighbours that are no routers, with the cost of sending there."""
    graph = Graph(database)
    paths = graph.paths(own) if own in graph.flags else {own: (0, set())}
    own_name = wire.node_name(domain, own)
    routes = {own_name: Route(own_name, 0, deliver=True, local=True, origins=[own])}
    for node, (cost, first) in paths.items():
        if node != own:
            prefix = wire.node_name(domain, node)
            routes[prefix] = Route(prefix, cost, origins=[node], next_hops=dict.fromkeys(sorted(first), 1))
    advertised: dict[bytes, list[Lsa]] = {}
    for key, stored in database.stored.items():
        if key.kind == 2 and not stored.lsa.purge and key.origin in paths and stored.lsa.metric != UNREACHABLE:
            advertised.setdefault(key.id[0], []).append(stored.lsa)
    for prefix, lsas in advertised.items():
        if route := nearest(prefix, lsas, paths, own, attached):
            routes[prefix] = route
    return routes


def nearest(prefix: bytes, lsas: list[Lsa], paths: dict, own: str, attached: dict[str, int]) -> Route | None:
    """The route to the nearest of those that advertise a prefix; a port of our own wins over everything."""
    local = {lsa.key.id[1]: lsa for lsa in lsas if lsa.key.origin == own and lsa.key.id[1] in attached}
    if local:
        lsa = next(iter(local.values()))
        hops = {port: max(lsa.weight, 1) for port, lsa in local.items()}
        return Route(prefix, lsa.metric, bool(lsa.flags & EXACT), False, True, [own], hops)
    costs = [(paths[lsa.key.origin][0] + lsa.metric, lsa) for lsa in lsas if lsa.key.origin != own]
    if not costs:
        return None
    best = min(cost for cost, _ in costs)
    chosen = [lsa for cost, lsa in costs if cost == best]
    hops: dict[str, int] = {}
    for lsa in chosen:
        for first in paths[lsa.key.origin][1]:
            hops[first] = hops.get(first, 0) + max(lsa.weight, 1)
    if not hops:
        return None
    exact = all(lsa.flags & EXACT for lsa in chosen)
    origins = sorted({lsa.key.origin for lsa in chosen})
    return Route(prefix, best, exact, False, False, origins, dict(sorted(hops.items())))


def lookup(routes: dict[bytes, Route], destination: bytes) -> Route | None:
    """The longest matching prefix."""
    parts = wire.components(destination)
    for depth in range(len(parts), 0, -1):
        route = routes.get(b"".join(parts[:depth]))
        if route and (not route.exact or depth == len(parts)):
            return route
    return None
