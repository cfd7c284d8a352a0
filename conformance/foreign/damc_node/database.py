"""The link-state database and what this node says in it: WIRE.md sections 10 and 12."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import statements, wire
from .statements import Key, Lsa, LsaHeader
from .wire import u

if TYPE_CHECKING:
    from .node import Node

LIFETIME_CAP = 3_600_000
TOMBSTONE = 60_000
FRAGMENTS = 64
NAMES_PER_ORIGIN = 4096


@dataclass
class Stored:
    lsa: Lsa
    installed_at: float
    expires_at: float

    @property
    def longest(self) -> int:
        return min(self.lsa.lifetime, LIFETIME_CAP)

    def remaining(self, now: float) -> int:
        return max(int((self.expires_at - now) * 1e3), 0)


class Database:
    """The newest verified LSA of every key."""

    def __init__(self) -> None:
        self.stored: dict[Key, Stored] = {}
        self.prefixes: dict[str, int] = {}  # prefix LSAs in force by origin

    def version(self, key: Key) -> tuple[int, int]:
        stored = self.stored.get(key)
        return stored.lsa.version if stored else (0, 0)

    def header(self, key: Key, now: float) -> LsaHeader:
        stored = self.stored[key]
        return stored.lsa.header(stored.remaining(now))

    def copy(self, key: Key, now: float) -> bytes | None:
        """A copy to send, a millisecond older than ours; none without time left."""
        stored = self.stored.get(key)
        left = stored.remaining(now) - 1 if stored else 0
        return stored.lsa.encode(left) if left > 0 else None

    def has_room(self, lsa: Lsa) -> bool:
        if lsa.key.kind == 1:
            return lsa.key.id[0] < FRAGMENTS
        return lsa.key in self.stored or self.prefixes.get(lsa.key.origin, 0) < 2 * NAMES_PER_ORIGIN

    def install(self, lsa: Lsa, now: float) -> Lsa | None:
        before = self.remove(lsa.key)
        left = min(lsa.remaining, lsa.lifetime, LIFETIME_CAP)
        self.stored[lsa.key] = Stored(lsa, now, now + left / 1e3)
        if lsa.key.kind == 2:
            self.prefixes[lsa.key.origin] = self.prefixes.get(lsa.key.origin, 0) + 1
        return before

    def remove(self, key: Key) -> Lsa | None:
        stored = self.stored.pop(key, None)
        if stored and key.kind == 2:
            self.prefixes[key.origin] -= 1
        return stored.lsa if stored else None

    def compare_age(self, header: LsaHeader, now: float) -> int:
        """Whether another copy of our version has much more time left than ours (1), much less (-1), or neither."""
        stored = self.stored.get(header.key)
        if not stored or stored.lsa.version != header.version:
            return 0
        theirs, ours = min(header.remaining, stored.longest), stored.remaining(now)
        tolerance = max(stored.longest // 64, 1000)
        return (theirs > ours + tolerance) - (theirs + tolerance < ours)

    def prolong(self, header: LsaHeader, now: float) -> None:
        stored = self.stored[header.key]
        latest = stored.installed_at + stored.longest / 1e3
        stored.expires_at = max(stored.expires_at, min(now + min(header.remaining, stored.longest) / 1e3, latest))


class Own:
    """One LSA of this node."""

    def __init__(self) -> None:
        self.wanted: bytes | None = None  # content to say, from the byte `content` on; None: nothing
        self.said: bytes | None = None
        self.sequence = 0
        self.due: float | None = None
        self.sent_at = float("-inf")
        self.rest_until: float | None = None


PURGED = b"\0"


class Originator:
    """What this node says of itself, and when: section 10, origination, and section 12."""

    def __init__(self, node: Node) -> None:
        self.node, self.own = node, {}

    def want(self, now: float, kind: int, id_: tuple, content: bytes | None, at: float | None = None) -> None:
        key = Key(self.node.id, kind, id_)
        if content is None and key not in self.own:
            return
        own = self.own.setdefault(key, Own())
        if own.wanted != content:
            own.wanted = content
            self.schedule(own, now if at is None else at)

    def schedule(self, own: Own, at: float) -> None:
        at = max(at, own.sent_at + self.node.seconds("lsa_min_origination_ms"))
        own.due = at if own.due is None else min(own.due, at)

    def fight_back(self, now: float, key: Key, sequence: int) -> None:
        """A newer version of an own key came: outbid it, or purge it where nothing is to be said."""
        own = self.own.setdefault(key, Own())
        own.sequence, own.said = max(own.sequence, sequence), None
        self.schedule(own, now)

    def rest(self, now: float, key: Key, lifetime: int) -> None:
        """A purge with the last number stands: nothing can be said until it is gone."""
        own = self.own.setdefault(key, Own())
        own.sequence, own.said, own.due = wire.U64, PURGED, None
        own.rest_until = now + lifetime / 1e3 + 1

    def take_due(self, now: float) -> list[Lsa]:
        due = []
        for key, own in list(self.own.items()):
            if own.rest_until is not None:
                if now < own.rest_until:
                    continue
                own.rest_until, own.sequence, own.said, own.due = None, 0, None, now
            refresh = own.said not in (None, PURGED) and now >= own.sent_at + self.node.seconds("lsa_refresh_ms")
            if not refresh and (own.due is None or now < own.due):
                continue
            own.due = None
            content = own.wanted if own.wanted is not None else PURGED
            if content == PURGED and own.sequence == 0:
                del self.own[key]  # Said nothing, and has nothing to say.
            elif refresh or content != own.said:
                due.append(self.originate(now, key, own, content))
        return due

    def originate(self, now: float, key: Key, own: Own, content: bytes) -> Lsa:
        own.sequence += 1
        if own.sequence == wire.U64:
            content = PURGED
        lifetime = min(TOMBSTONE if content == PURGED else self.node.pace["lsa_lifetime_ms"], LIFETIME_CAP)
        if own.sequence == wire.U64:
            own.rest_until = now + lifetime / 1e3 + 1
        own.said, own.sent_at = content, now
        signed = key.encode() + u(own.sequence, 8) + u(lifetime, 4) + content + self.node.keys.certificate.raw
        signature = self.node.keys.sign("damc lsa v1", signed)
        return statements.lsa_of(u(lifetime, 4) + signed + signature)

    def purge_all(self, now: float) -> None:
        for own in self.own.values():
            own.wanted, own.due = None, now


def topology_content(flags: int, links: list[tuple[str, int]]) -> bytes:
    entries = b"".join(wire.short(neighbour) + u(cost, 4) for neighbour, cost in links)
    return b"\1" + bytes([flags]) + u(len(links), 2) + entries


def attached_content(metric: int, attachment: bytes) -> bytes:
    return b"\1\0" + u(metric, 4) + u(1, 2) + b"\3" + attachment
