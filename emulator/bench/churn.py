#!/usr/bin/env python3
"""Many connections to a pool, and churn: `just bench-churn` (10 000 of them for a minute; `just bench-churn 10000 600`).

pod-a - sg-a - sr - sg-b - pod-b
                 \\ - sg-c - pod-c      pool.yaml: the pool is pod-b and pod-c at equal cost

Every connection says its own number again and again, and the instance says it back with its own name. An answer with
another number, or of another instance than the first answer of its connection, is a wrong delivery. Connections live for a
while and are replaced. Told are connections, exchanges, wrong deliveries, connections that broke, and what the client's SG
remembered and occupied at the beginning and at the end. Exits with 1 if anything was delivered wrongly.
"""

import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import time

import report
from lab import Lab

HERE = os.path.dirname(os.path.abspath(__file__))
PORT = 5301
HOST = "pool.example.damc"
# Seconds between two exchanges of a connection, and the life of one.
PERIOD = 5.0
LIFE = 90.0
# Connections opened at one time: a pod has one queue for all of them.
OPENING = 128
# What the client counts.
COUNTED = ["opened", "most_at_once", "exchanges", "wrong", "broken"]


def many_files():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# ===== the programs =====


async def serve(name):
    async def answer(reader, writer):
        try:
            while line := await reader.readline():
                writer.write(line.rstrip() + b" " + name.encode() + b"\n")
        except OSError:
            pass
        writer.close()

    server = await asyncio.start_server(answer, "::", PORT, backlog=4096)
    async with server:
        await server.serve_forever()


class Client:
    def __init__(self, connections, seconds):
        self.connections, self.end = connections, time.monotonic() + seconds
        self.opened = self.exchanges = self.wrong = self.broken = self.now = self.most = 0
        self.served = {}
        self.opening = asyncio.Semaphore(OPENING)

    async def hold(self, number):
        await asyncio.sleep(random.random() * PERIOD)
        while time.monotonic() < self.end:
            try:
                await asyncio.wait_for(self.connection(f"{number}.{random.getrandbits(32):x}"), LIFE + 60)
            except (TimeoutError, OSError, asyncio.IncompleteReadError):
                self.broken += 1

    async def connection(self, number):
        async with self.opening:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(HOST, PORT), 20)
        self.opened, self.now = self.opened + 1, self.now + 1
        self.most = max(self.most, self.now)
        until, instance = min(self.end, time.monotonic() + random.random() * LIFE), None
        try:
            while True:
                writer.write(number.encode() + b"\n")
                said = (await asyncio.wait_for(reader.readuntil(b"\n"), 20)).split()
                instance = instance or said[1]
                self.exchanges += 1
                self.wrong += said != [number.encode(), instance]
                if time.monotonic() >= until:
                    break
                await asyncio.sleep(PERIOD * (0.5 + random.random()))
            self.served[instance.decode()] = self.served.get(instance.decode(), 0) + 1
        finally:
            self.now -= 1
            writer.close()

    async def run(self):
        await asyncio.gather(*(self.hold(number) for number in range(self.connections)))
        return {
            "connections": self.connections,
            "opened": self.opened,
            "most_at_once": self.most,
            "exchanges": self.exchanges,
            "wrong": self.wrong,
            "broken": self.broken,
            "served": self.served,
        }


# ===== the measurement =====


class Pool:
    """The lab, and the servers in it."""

    def __init__(self, damc):
        self.lab = Lab(damc, os.path.join(HERE, "pool.yaml"), "--lab", f"churn-{os.getpid()}")
        self.servers = [self.start(pod, "serve", name) for pod, name in (("pod-b", "/pool/b"), ("pod-c", "/pool/c"))]

    def start(self, pod, *words, **options):
        words = self.lab.words(pod, sys.executable, os.path.abspath(__file__), *words)
        return subprocess.Popen(words, **options)

    def wait_served(self):
        deadline = time.monotonic() + 20
        for pod in ("pod-b", "pod-c"):
            while not self.lab.listens(pod, PORT):
                if time.monotonic() > deadline:
                    sys.exit(f"the server in {pod} does not listen")
                time.sleep(0.05)

    def gateway(self):
        """What the client's SG remembers, and the memory it occupies in KiB."""
        counters = self.lab.show("sg-a", "counters")
        return {**counters["gateway"], "resident_kib": self.lab.resident_bytes("sg-a") / 1024}

    def end(self):
        for server in self.servers:
            server.kill()
        self.lab.down()


def follow(pool, connections, seconds):
    """What the client says at its end, and the gateway meanwhile."""
    client = pool.start("pod-a", "client", str(connections), str(seconds), stdout=subprocess.PIPE, text=True)
    samples = []
    while client.poll() is None:
        try:
            client.wait(max(seconds / 10, 1))
        except subprocess.TimeoutExpired:
            samples.append(pool.gateway())
    said = client.stdout.read()
    if client.returncode:
        sys.exit(f"the client ended with {client.returncode}")
    return json.loads(said), samples


def measured(said, seconds, before, samples, after):
    counts = [[what.replace("_", " "), said[what]] for what in COUNTED]
    counts += [[f"connections served by {name}", count] for name, count in sorted(said["served"].items())]
    counts.append(["flows that gave way at sg-a", after.get("flows_evicted", 0)])
    flows = [sample.get("flows", 0) for sample in samples]
    return {
        "name": "churn",
        "title": "Connections to a pool that come and go",
        "about": f"{said['connections']} connections at a time for {seconds:g} s",
        "tables": [
            {"columns": ["what", "how many"], "rows": counts},
            {
                "heading": "sg-a, ten times meanwhile",
                "columns": ["what", "before", "median (least–most)", "after"],
                "rows": [
                    ["flows remembered", [before.get("flows", 0)], flows, [after.get("flows", 0)]],
                    ["resident memory, KiB", *resident([before], samples, [after])],
                ],
            },
        ],
        "run": {**said, "seconds": seconds, "gateway_before": before, "gateway_after": after},
    }


def resident(*phases):
    return [[sample["resident_kib"] for sample in phase] for phase in phases]


def main(damc, folder, connections, seconds):
    pool = Pool(damc)
    try:
        pool.wait_served()
        before = pool.gateway()
        said, samples = follow(pool, connections, seconds)
        after = pool.gateway()
    finally:
        pool.end()
    report.write(damc, folder, measured(said, seconds, before, samples, after))
    sys.exit(1 if said["wrong"] else 0)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", name]:
            many_files()
            asyncio.run(serve(name))
        case ["client", connections, seconds]:
            many_files()

            async def client():
                return await Client(int(connections), float(seconds)).run()

            print(json.dumps(asyncio.run(client())))
        case [damc, folder, connections, seconds]:
            main(damc, folder, int(connections), float(seconds))
        case _:
            sys.exit(f"usage: {sys.argv[0]} DAMC FOLDER CONNECTIONS SECONDS")
