"""The management interface: LAB.md section 8. HTTP/1.1 over a Unix socket, as much of it as this node offers."""

from __future__ import annotations

import json
import selectors
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from .node import Node

LONGEST_REQUEST = 1 << 20


def serve(node: Node) -> None:
    """Listens, as part of the node's loop."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(node.config["admin_socket"])
    listener.listen(4096)
    listener.setblocking(False)
    node.selector.register(listener, selectors.EVENT_READ, lambda: accept(node, listener))


def end(node: Node) -> None:
    Path(node.config["admin_socket"]).unlink(missing_ok=True)


def accept(node: Node, listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        received = bytearray()
        node.selector.register(
            connection, selectors.EVENT_READ, lambda c=connection, received=received: read(node, c, received)
        )


def read(node: Node, connection: socket.socket, received: bytearray) -> None:
    try:
        part = connection.recv(65536)
    except OSError:
        part = b""
    received += part
    head, separator, body = bytes(received).partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:])}
    length = headers.get("content-length", "0")
    whole = separator and length.isdigit() and len(body) >= int(length)
    if part and not whole and len(received) < LONGEST_REQUEST:
        return
    node.selector.unregister(connection)
    if whole:
        method, target, *_ = [*lines[0].split(" "), "", ""]
        answer(node, connection, method, target, body)
    else:
        connection.close()


class Reply:
    """Where an answer goes, at once or later."""

    def __init__(self, node: Node, connection: socket.socket) -> None:
        self.node, self.connection = node, connection

    def send(self, status: int, body: object, kind: str = "application/json") -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} .\r\ncontent-type: {kind}\r\ncontent-length: {len(content)}\r\nconnection: close\r\n\r\n"
        self._write(memoryview(head.encode() + content))

    def _write(self, rest: memoryview) -> None:
        """Sends what the socket takes; the rest when it takes more."""
        try:
            rest = rest[self.connection.send(rest) :]
        except BlockingIOError:
            pass
        except OSError:
            rest = rest[len(rest) :]
        known = self.connection.fileno() in self.node.selector.get_map()
        if known:
            self.node.selector.unregister(self.connection)
        if rest:
            self.node.selector.register(self.connection, selectors.EVENT_WRITE, lambda: self._write(rest))
        else:
            self.connection.close()


def answer(node: Node, connection: socket.socket, method: str, target: str, body: bytes) -> None:
    reply = Reply(node, connection)
    url = urlsplit(target)
    query = {key: values[0] for key, values in parse_qs(url.query).items()}
    if (method, url.path) == ("GET", "/counters"):
        reply.send(200, {"node": node.id, **node.counters, **node.more_counters()})
    elif (method, url.path) == ("GET", "/neighbors"):
        reply.send(200, neighbours(node))
    elif (method, url.path) == ("GET", "/events") and query.get("follow") == "false":
        since = int(query.get("since", "0"))
        lines = [json.dumps(event) for event in node.events if event["sequence"] >= since]
        reply.send(200, "".join(line + "\n" for line in lines).encode(), "application/x-ndjson")
    elif method == "GET" and (view := node.views().get(url.path)):
        reply.send(200, view())
    elif method == "POST" and (action := node.actions().get(url.path)):
        try:
            action(json.loads(body), reply)
        except (ValueError, KeyError, TypeError) as error:
            reply.send(400, f"{error!r}\n".encode(), "text/plain")
    else:
        reply.send(404, b"not offered\n", "text/plain")


def neighbours(node: Node) -> dict:
    now = time.monotonic()
    rows = []
    for port in sorted(node.ports, key=lambda port: port.name):
        adjacency = port.adjacency
        echo = adjacency.peer.echo if adjacency.peer else None
        rows.append(
            {
                "port": port.name,
                "state": adjacency.state,
                "role": adjacency.peer.certificate.role if adjacency.peer else None,
                "since_ms": int((now - adjacency.since) * 1e3),
                "delay_ns": int(echo.delay) if echo and echo.delay is not None else None,
                "jitter_ns": int(echo.jitter) if echo and echo.jitter is not None else None,
                "unacknowledged": node.unacknowledged(port),
                "flaps": adjacency.flaps,
                "last_down": adjacency.last_down,
            }
        )
    return {"node": node.id, "neighbors": rows}
