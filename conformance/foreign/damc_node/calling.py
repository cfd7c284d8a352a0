"""Calls, both sides: WIRE.md section 16, and the methods of the built-in service, LAB.md section 7."""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING, NamedTuple

from . import wire
from .wire import REFUSAL_LABELS, REFUSALS, TRACE, Drop, Header, u

if TYPE_CHECKING:
    from .management import Reply
    from .pod import Pod

REQUEST, RESPONSE, ERROR = 1, 2, 3
REMEMBERED, REMEMBERED_FOR = 65536, 10.0


class Data(NamedTuple):
    kind: int
    correlation: int
    deadline: int
    method: str
    reason: int
    payload: bytes
    hops: list[bytes]
    context: bytes | None = None


def context_of(tlvs: wire.Tlvs, body: bytes) -> bytes | None:
    """The trace context of a request, which stands behind its payload; other data has none."""
    context = tlvs.optional(wire.TRACE_CONTEXT) if body[:1] == bytes([REQUEST]) else None
    if context is not None:
        reader = wire.Reader(context)
        trace, parent, _ = reader.take(16), reader.take(8), reader.u8()
        reader.end()
        if not any(trace) or not any(parent):
            wire.malformed("a number of a trace context is 0")
    return context


def traceparent(context: bytes | None) -> str:
    """The value of a `traceparent` header."""
    return f"00-{context[:16].hex()}-{context[16:24].hex()}-{context[24]:02x}" if context else ""


def context_of_call(header: str | None) -> bytes | None:
    """What a call of that trace carries: the call is a span of its own. What cannot be read is no trace."""
    found = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", header or "")
    if not found or not int(found[1], 16) or not int(found[2], 16):
        return None
    span = secrets.randbits(64) or 1
    return bytes.fromhex(found[1]) + u(span, 8) + bytes([int(found[3], 16) & 1])


def data_of(body: bytes, payload: bytes, hops: list[bytes], context: bytes | None = None) -> Data:
    reader = wire.Reader(body)
    kind, correlation = reader.u8(), reader.u64()
    deadline, method, reason = 0, "", 0
    if kind == REQUEST:
        deadline, name = reader.u32(), reader.rest()
        try:
            method = name.decode()
        except UnicodeDecodeError:
            wire.malformed("method")
        if not 1 <= len(name) <= 64:
            wire.malformed("method")
    elif kind == ERROR:
        reason = reader.u8()
        if reason not in REFUSAL_LABELS:
            wire.malformed(f"reason {reason}")
    elif kind != RESPONSE:
        wire.malformed(f"kind of data {kind}")
    reader.end()
    return Data(kind, correlation, deadline, method, reason, payload, hops, context)


def method(prefix: bytes, name: str, payload: bytes, context: bytes | None = None) -> tuple[str, object]:
    """("done", result), ("later", seconds), or (a refusal, text for people)."""
    try:
        if name == "echo":
            return "done", payload
        if name == "add":
            numbers = [int(word) for word in payload.decode().split()]
            if not numbers or not -(2**63) <= sum(numbers) < 2**63:
                return "bad-arguments", "numbers to add are wanted"
            return "done", str(sum(numbers)).encode()
        if name == "whoami":
            return "done", wire.text_of(prefix).encode()
        if name == "trace":
            return "done", traceparent(context).encode()
        if name == "sleep":
            wait = int(payload.decode())
            return ("later", wait / 1e3) if wait >= 0 else ("bad-arguments", "a time is not negative")
    except (ValueError, UnicodeDecodeError) as error:
        return "bad-arguments", str(error)
    if name == "fail":
        return "failed", payload.decode(errors="replace") or "as asked"
    return "no-such-method", f"there is no method {name}"


class Server:
    """Executes each request once."""

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        self.seen: dict[tuple[bytes, int], tuple[float, wire.Routed | None]] = {}
        self.sleeping: list[tuple[float, tuple[bytes, int], tuple, bytes]] = []

    def request(self, now: float, header: Header, destination: bytes, source: bytes, data: Data) -> None:
        key = source, data.correlation
        if key in self.seen:
            self.pod.count("protocol", "requests_repeated")
            if answer := self.seen[key][1]:
                self.pod.send_routed(answer)
            return
        prefix = self.pod.serving(destination, data.correlation)
        speaker = prefix or self.pod.source()
        if speaker is None:
            raise Drop("no-such-instance", wire.text_of(destination))
        if len(self.seen) >= REMEMBERED:
            self.answer(key, (header, speaker, source, data), "overloaded", b"", now)
            return
        self.seen[key] = now + data.deadline / 1e3 + REMEMBERED_FOR, None
        context = header, speaker, source, data
        if prefix is None:
            dead = any(destination.startswith(known) for known in self.pod.known)
            outcome, result = ("service-unavailable" if dead else "no-such-instance"), "nothing runs here"
        elif data.deadline == 0:
            outcome, result = "deadline-exceeded", ""
        else:
            self.pod.services[prefix].served += 1
            self.pod.count("protocol", "invocations")
            outcome, result = method(prefix, data.method, data.payload, data.context)
        if outcome == "later":
            self.sleeping.append((now + result, key, context, data.payload))
        else:
            self.answer(key, context, outcome, result if isinstance(result, bytes) else result.encode(), now)

    def answer(self, key: tuple, context: tuple, outcome: str, payload: bytes, now: float) -> None:
        header, speaker, source, data = context
        if outcome == "done":
            body = bytes([RESPONSE]) + u(data.correlation, 8)
        else:
            body = bytes([ERROR]) + u(data.correlation, 8) + bytes([REFUSALS[outcome]])
        tlvs = wire.tlv(wire.BODY, body) + wire.tlv(wire.PAYLOAD, payload)
        answer = wire.Routed("data", source, speaker, tlvs, header.flow, flags=header.flags & TRACE, hops=data.hops)
        if key in self.seen:
            self.seen[key] = self.seen[key][0], answer
        self.pod.send_routed(answer)

    def tick(self, now: float) -> None:
        due = [sleeper for sleeper in self.sleeping if now >= sleeper[0]]
        if due:
            self.sleeping = [sleeper for sleeper in self.sleeping if now < sleeper[0]]
        for _, key, context, payload in due:
            self.answer(key, context, "done", payload, now)
        while self.seen:
            key = next(iter(self.seen))
            if now < self.seen[key][0]:
                break
            del self.seen[key]


class Call:
    """A call that waits for its outcome."""

    def __init__(self, now: float, request: dict, source: bytes, reply: Reply, interval: float) -> None:
        self.reply, self.began, self.source = reply, now, source
        self.destination = wire.name(request["name"])
        self.method, self.payload = request["method"], " ".join(request.get("args", [])).encode()
        self.ends_at = now + request.get("deadline_ms", 2000) / 1e3
        self.trace, self.flow = request.get("trace", False), request.get("flow")
        if self.flow is None:
            self.flow = secrets.randbits(32)
        self.next_at, self.interval = now, interval
        self.context = context_of_call(request.get("traceparent"))


class Caller:
    """The calls of this pod."""

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        self.calls: dict[int, Call] = {}

    def call(self, request: dict, reply: Reply) -> None:
        """`POST /call`."""
        now = time.monotonic()
        source = wire.name(request["source"]) if request.get("source") else self.pod.source()
        if not 1 <= len(request["method"].encode()) <= 64:
            reply.send(400, b"method: 1 to 64 bytes\n", "text/plain")
            return
        call = Call(now, request, source, reply, 2 * self.pod.seconds("retransmit_ms"))
        if source is None or self.pod.sg is None:
            standing = [s for s in self.pod.standing.values() if s in REFUSALS]
            reason = "no-route" if self.pod.sg is None else (standing or ["source-not-authorised"])[0]
            self.done(now, call, error=reason, detail="this pod has no accepted service to call from")
            return
        self.calls[secrets.randbits(64)] = call
        self.tick(now)

    def tick(self, now: float) -> None:
        for correlation, call in list(self.calls.items()):
            if now >= call.ends_at:
                del self.calls[correlation]
                self.done(now, call, error="timeout")
            elif now >= call.next_at:
                if call.next_at > call.began:
                    self.pod.count("protocol", "requests_retransmitted")
                call.next_at, call.interval = now + call.interval, call.interval * 2
                self.send(now, correlation, call)

    def send(self, now: float, correlation: int, call: Call) -> None:
        left = max(int((call.ends_at - now) * 1e3), 1)
        body = bytes([REQUEST]) + u(correlation, 8) + u(left, 4) + call.method.encode()
        tlvs = wire.tlv(wire.BODY, body) + wire.tlv(wire.PAYLOAD, call.payload)
        if call.context:
            tlvs += wire.tlv(wire.TRACE_CONTEXT, call.context)
        flags = TRACE if call.trace else 0
        message = wire.Routed("data", call.destination, call.source, tlvs, call.flow, flags=flags)
        if len(message.encode()) > wire.MAX_PDU:
            del self.calls[correlation]
            self.done(now, call, error="too-large", detail="the request does not fit one message")
        else:
            self.pod.send_routed(message)

    def answer(self, now: float, data: Data) -> None:
        call = self.calls.pop(data.correlation, None)
        if call is None:
            raise Drop("unsolicited", "data")
        paths = {False: [], True: []}
        for hop in data.hops:
            paths[bool(hop[0])].append(hop[2:].decode())
        text = data.payload.decode(errors="replace")
        if data.kind == RESPONSE:
            self.done(now, call, text, path=paths[False], return_path=paths[True])
        else:
            error = REFUSAL_LABELS[data.reason]
            self.done(now, call, error=error, detail=text, path=paths[False], return_path=paths[True])

    def nack(self, now: float, value: bytes) -> None:
        reader = wire.Reader(value)
        reason, answered, node, destination = reader.u8(), reader.u8(), reader.node(), reader.name()
        body = reader.rest()
        if reason not in REFUSAL_LABELS or answered not in wire.TYPES or answered < 0x80 or len(body) > 512:
            wire.malformed("nack")
        correlation = int.from_bytes(body[1:9], "big")
        call = self.calls.get(correlation)
        if wire.TYPES[answered] != "data" or body[:1] != b"\1" or not call or call.destination != destination:
            raise Drop("unsolicited", "nack")
        del self.calls[correlation]
        self.done(now, call, error=REFUSAL_LABELS[reason], detail=node)

    def done(self, now: float, call: Call, result=None, error=None, detail=None, path=(), return_path=()) -> None:
        elapsed = int((now - call.began) * 1e9)
        body = {"result": result, "error": error, "detail": detail, "elapsed_ns": elapsed}
        if call.context:
            body["traceparent"] = traceparent(call.context)
        call.reply.send(200, body | {"path": list(path), "return_path": list(return_path)})
