#!/usr/bin/env python3
"""A web service that says who it is, on its own address and that of its pool.

    GET /            {"name": ..., "client": ...}, and "traceparent" where the request has one
    GET /health      ok
    GET /bytes/N     N bytes
    GET /via/HOST    what HOST says to GET /, passed on: a call in a call (HOST may itself be via/HOST)
    POST /           what was posted, back

A request that belongs to a trace (`traceparent`, W3C Trace Context) takes it along to the next one: the same trace, and
this program's part of it as the parent. It knows nothing of DAMC but the variables it is started with.
"""

import json
import os
import re
import secrets
import socket
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = os.environ.get("DAMC_NAME", "somebody")
PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 80


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 512
    daemon_threads = True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def setup(self):
        super().setup()
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def traceparent(self):
        """What the request says; None where that cannot be read."""
        said = self.headers.get("traceparent", "").strip()
        return said if re.fullmatch(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", said) else None

    def onward(self):
        """Headers of a request that follows from this one."""
        if said := self.traceparent():
            span = f"{secrets.randbits(64) or 1:016x}"
            return {"traceparent": f"{said[:36]}{span}{said[52:]}"}
        return {}

    def say(self, status, body, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/":
            said = {"name": NAME, "client": self.client_address[0]}
            if context := self.traceparent():
                said["traceparent"] = context
            self.say(200, json.dumps(said).encode() + b"\n")
        elif self.path == "/health":
            self.say(200, b"ok\n", "text/plain")
        elif self.path.startswith("/bytes/"):
            count = min(int(self.path[len("/bytes/"):]), 64 << 20)
            self.say(200, b"x" * count, "application/octet-stream")
        elif self.path.startswith("/via/"):
            host, _, rest = self.path[len("/via/"):].partition("/")
            try:
                request = urllib.request.Request(f"http://{host}/{rest}", headers=self.onward())
                with urllib.request.urlopen(request, timeout=10) as answer:
                    said = json.loads(answer.read())
                self.say(200, json.dumps({"name": NAME, "via": said}).encode() + b"\n")
            except (urllib.error.URLError, OSError, ValueError) as error:
                self.say(502, json.dumps({"name": NAME, "error": str(error)}).encode() + b"\n")
        else:
            self.say(404, b'{"error": "no such path"}\n')

    def do_POST(self):
        self.say(200, self.rfile.read(int(self.headers.get("Content-Length", 0))), "application/octet-stream")

    def log_message(self, form, *arguments):
        if os.environ.get("VERBOSE"):
            super().log_message(form, *arguments)


def main():
    addresses = [os.environ.get("DAMC_ADDRESS", "::1"), os.environ.get("DAMC_POOL_ADDRESS")]
    servers = [Server((address, PORT), Handler) for address in addresses if address]
    print(f"{NAME} serves port {PORT} on {', '.join(a for a in addresses if a)}", flush=True)
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


main()
