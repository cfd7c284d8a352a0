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

HERE = os.path.dirname(os.path.abspath(__file__))
PORT = 5301
HOST = "pool.example.damc"
# Seconds between two exchanges of a connection, and the life of one.
PERIOD = 5.0
LIFE = 90.0
# Connections opened at one time: a pod has one queue for all of them.
OPENING = 128


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
            except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
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
        return {"connections": self.connections, "opened": self.opened, "most_at_once": self.most,
                "exchanges": self.exchanges, "wrong": self.wrong, "broken": self.broken, "served": self.served}


# ===== the measurement =====


class Lab:
    def __init__(self, damc):
        self.damc, self.name = damc, f"churn-{os.getpid()}"
        subprocess.run([damc, "up", os.path.join(HERE, "pool.yaml"), "--detach", "--lab", self.name], check=True,
                       stdout=subprocess.DEVNULL)
        self.servers = [self.start(pod, "serve", name) for pod, name in (("pod-b", "/pool/b"), ("pod-c", "/pool/c"))]

    def start(self, pod, *words, **options):
        words = [self.damc, "exec", "--lab", self.name, pod, "--", sys.executable, os.path.abspath(__file__), *words]
        return subprocess.Popen(words, **options)

    def wait_served(self):
        deadline = time.monotonic() + 20
        for pod in ("pod-b", "pod-c"):
            words = [self.damc, "exec", "--lab", self.name, pod, "--", "cat", "/proc/net/tcp6"]
            while f":{PORT:04X} " not in subprocess.run(words, capture_output=True, check=True, text=True).stdout:
                if time.monotonic() > deadline:
                    sys.exit(f"the server in {pod} does not listen")
                time.sleep(0.05)

    def gateway(self):
        """What the client's SG remembers, and the memory it occupies in KiB."""
        words = [self.damc, "show", "--lab", self.name, "sg-a", "counters", "--json"]
        counters = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        return {**counters["gateway"], "resident_kib": self.resident("sg-a")}

    def resident(self, node):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                    command = file.read()
                if "damc-sg" in command and f"/{self.name}/" in command and node in command:
                    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
            except (OSError, StopIteration):
                continue
        return None

    def end(self):
        for server in self.servers:
            server.kill()
        subprocess.run([self.damc, "down", self.name], check=True, stdout=subprocess.DEVNULL)


def main(damc, out, connections, seconds):
    lab = Lab(damc)
    try:
        lab.wait_served()
        before = lab.gateway()
        client = lab.start("pod-a", "client", str(connections), str(seconds), stdout=subprocess.PIPE, text=True)
        samples = []
        while client.poll() is None:
            try:
                client.wait(max(seconds / 10, 1))
            except subprocess.TimeoutExpired:
                samples.append(lab.gateway())
        said = client.stdout.read()
        if client.returncode:
            sys.exit(f"the client ended with {client.returncode}")
        result = {**json.loads(said), "seconds": seconds, "load": os.getloadavg(), "cpus": os.cpu_count(),
                  "gateway_before": before, "gateway_after": lab.gateway(),
                  "flows_most": max((s.get("flows", 0) for s in samples), default=0),
                  "resident_kib": [s["resident_kib"] for s in samples]}
    finally:
        lab.end()
    with open(out, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    after = result["gateway_after"]
    print(f"{result['opened']} connections, at most {result['most_at_once']} at once, {result['exchanges']} exchanges, "
          f"{result['wrong']} wrong deliveries, {result['broken']} connections broke; by instance {result['served']}")
    print(f"sg-a: at most {result['flows_most']} flows seen, {after.get('flows_evicted', 0)} gave way, "
          f"{before['resident_kib']} KiB before, {after['resident_kib']} KiB after")
    sys.exit(1 if result["wrong"] else 0)


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
        case [damc, out, connections, seconds]:
            main(damc, out, int(connections), float(seconds))
        case _:
            sys.exit(f"usage: {sys.argv[0]} DAMC OUT.json CONNECTIONS SECONDS")
