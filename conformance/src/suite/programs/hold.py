"""Holds connections: an ordinary HTTP client for cases about running flows.

    hold.py PORT KIND=HOST...

Kinds: `busy` asks every 50 ms which service answers, `idle` asks once and then only listens, `load` reads a long answer
slowly, `fresh` opens a new connection for every question. A line on standard input makes every idle connection ask
again. Every 100 ms the program prints a line of JSON with the monotonic time, ns, and for each connection: kind, host,
answers, bytes, the latest name that answered, all names that did, and how it ended (null while it has not). The end of
standard input ends the program.
"""

import json
import os
import select
import socket
import sys
import threading
import time

PORT = int(sys.argv[1])
BLOCK = 32 << 10


class Held:
    def __init__(self, kind, host):
        self.kind, self.host = kind, host
        self.answers, self.bytes, self.name, self.names, self.end = 0, 0, None, [], None
        self.ask = threading.Event()
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        try:
            getattr(self, self.kind)()
        except TimeoutError:
            self.end = "silence"
        except ConnectionResetError:
            self.end = "reset"
        except OSError as error:
            self.end = f"{type(error).__name__}: {error}"

    def connect(self):
        connection = socket.create_connection((self.host, PORT), timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Longer than any case, so that a hanging connection is not taken for one that ended.
        connection.settimeout(600)
        return connection

    def question(self, connection, path="/"):
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: held\r\n\r\n".encode())
        file = connection.makefile("rb")
        if not file.readline():
            raise ConnectionResetError
        length = 0
        while (line := file.readline().strip()):
            key, _, value = line.partition(b":")
            if key.lower() == b"content-length":
                length = int(value)
        return file, length

    def who(self, connection):
        file, length = self.question(connection)
        body = file.read(length)
        if len(body) < length:
            raise ConnectionResetError
        self.name = json.loads(body)["name"]
        self.answers += 1
        if self.name not in self.names:
            self.names.append(self.name)

    def busy(self):
        connection = self.connect()
        while True:
            self.who(connection)
            time.sleep(0.05)

    def idle(self):
        connection = self.connect()
        while True:
            self.who(connection)
            while not self.ask.is_set():
                # Readable without a question means that it has ended.
                if select.select([connection], [], [], 0.1)[0] and not connection.recv(1):
                    self.end = "closed"
                    return
            self.ask.clear()

    def load(self):
        connection = self.connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BLOCK)
        file, length = self.question(connection, "/bytes/67108864")
        while self.bytes < length:
            block = file.read1(BLOCK)
            if not block:
                self.end = "closed"
                return
            self.bytes += len(block)
            time.sleep(0.02)
        self.end = "whole"

    def fresh(self):
        while True:
            try:
                with self.connect() as connection:
                    connection.settimeout(2)
                    self.who(connection)
            except OSError as error:
                self.name = type(error).__name__
            time.sleep(0.05)

    def state(self):
        return {"kind": self.kind, "host": self.host, "answers": self.answers, "bytes": self.bytes, "name": self.name,
                "names": self.names, "end": self.end}


def main():
    held = [Held(*word.split("=", 1)) for word in sys.argv[2:]]
    while True:
        print(json.dumps({"at_ns": time.monotonic_ns(), "connections": [h.state() for h in held]}), flush=True)
        if select.select([sys.stdin], [], [], 0.1)[0]:
            if not os.read(0, 4096):
                return
            for h in held:
                h.ask.set()


main()
