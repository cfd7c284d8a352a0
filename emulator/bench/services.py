#!/usr/bin/env python3
"""What carrying programs by name costs, measured in one run beside the kernel's own IPv6: `just bench-services`.

    mesh     pod - SG - SR - SG - pod, packets by name, plain veth pairs (chain.yaml)
    kernel   the same chain of veth pairs and namespaces, with the kernel's IPv6 forwarding in the three in the middle
    sidecars the chain again, with an nginx in the place of each SG: a reverse proxy beside the client and one beside
             the server, standing connections between them (needs nginx)
    direct   one veth pair

Each: the time of a 1 kB HTTP request over a standing connection (median and 99th percentile of many), and one TCP flow
for some seconds (iperf3 where it is installed, else a sender of our own). Rounds alternate, so that all see the same
machine. Only addresses inside namespaces made here are used. Figures are medians over the rounds, with the least and the
most; ratios are made in each round, of figures measured one after the other. What is not installed is named.

usage: services.py DAMC FOLDER
"""

import array
import contextlib
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time

import report
from lab import Lab

HERE = os.path.dirname(os.path.abspath(__file__))
PORT = 5201
IPERF_PORT = 5202
IPERF = shutil.which("iperf3")
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
ROUNDS = 7
REQUESTS = 1500
SECONDS = 3


# ===== the programs =====


def serve(address):
    """HTTP of the simplest kind, and a sink: a connection that begins with `SINK` is read to its end. And iperf3."""
    if IPERF:
        words = [IPERF, "-s", "-p", str(IPERF_PORT), "-B", address]
        threading.Thread(
            target=subprocess.run, args=(words,), kwargs={"stdout": subprocess.DEVNULL}, daemon=True
        ).start()
    listener = socket.create_server((address, PORT), family=socket.AF_INET6, backlog=64)
    body = b"x" * 1024
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    def work(connection):
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            buffer = bytearray(1 << 20)
            rest = b""
            while count := connection.recv_into(buffer):
                if buffer.startswith(b"SINK"):
                    while connection.recv_into(buffer):
                        pass
                    return
                rest += bytes(buffer[:count])
                while (end := rest.find(b"\r\n\r\n")) >= 0:
                    rest = rest[end + 4 :]
                    connection.sendall(answer)

    def guarded(connection):
        # A client that has what it wants goes away.
        with contextlib.suppress(OSError):
            work(connection)

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=guarded, args=(connection,), daemon=True).start()


def connect(address):
    """Once the server listens."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection((address, PORT), timeout=10)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def latency(address):
    connection = connect(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = b"GET / HTTP/1.1\r\nHost: b\r\n\r\n"
    wanted = len(b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n") + 1024
    times = []
    for _ in range(REQUESTS):
        began = time.perf_counter_ns()
        connection.sendall(request)
        left = wanted
        while left:
            left -= len(connection.recv(left))
        times.append((time.perf_counter_ns() - began) / 1e3)
    times.sort()
    print(json.dumps({"p50_us": times[len(times) // 2], "p99_us": times[len(times) * 99 // 100]}))


def throughput(address):
    if IPERF:
        words = [IPERF, "-c", address, "-p", str(IPERF_PORT), "-t", str(SECONDS), "-J"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        said = json.loads(done.stdout or "{}")
        if "error" in said or done.returncode:
            sys.exit(f"iperf3: {said.get('error', done.stderr)}")
        print(json.dumps({"mbit_s": said["end"]["sum_received"]["bits_per_second"] / 1e6}))
        return
    connection = connect(address)
    connection.sendall(b"SINK")
    block, sent, began = b"y" * (1 << 17), 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        sent += connection.send(block)
    connection.shutdown(socket.SHUT_WR)
    connection.recv(1)
    print(json.dumps({"mbit_s": sent * 8 / (time.perf_counter() - began) / 1e6}))


# ===== the references =====


def checksums_off(interface):
    """As on every interface of a lab: sockets compute checksums, and nothing larger than the MTU crosses a link."""
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    value = array.array("I", [0x17, 0])  # ETHTOOL_STXCSUM
    request = struct.pack("16sP", interface.encode(), value.buffer_info()[0])
    fcntl.ioctl(probe, 0x8946, request)


def run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def chain(between):
    """Namespaces n0 … nK joined by veth pairs, the ones in the middle forward; gives the address of the last."""
    for number in range(between + 2):
        run("ip", "netns", "add", f"n{number}")
        run("ip", "-n", f"n{number}", "link", "set", "lo", "up")
    for link in range(between + 1):
        left, right = f"n{link}", f"n{link + 1}"
        run("ip", "link", "add", f"r{link}", "netns", left, "type", "veth", "peer", "name", f"l{link}", "netns", right)
        for node, interface, last in ((left, f"r{link}", 1), (right, f"l{link}", 2)):
            run("ip", "netns", "exec", node, sys.executable, __file__, "checksums-off", interface)
            run("ip", "-n", node, "addr", "add", f"fd00:{link}::{last}/64", "dev", interface, "nodad")
            run("ip", "-n", node, "link", "set", interface, "up")
    for number in range(1, between + 1):
        run("ip", "netns", "exec", f"n{number}", "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
        for link in range(between + 1):
            if link < number - 1:
                run("ip", "-n", f"n{number}", "route", "add", f"fd00:{link}::/64", "via", f"fd00:{number - 1}::1")
            elif link > number:
                run("ip", "-n", f"n{number}", "route", "add", f"fd00:{link}::/64", "via", f"fd00:{number}::2")
    if between:
        run("ip", "-n", "n0", "route", "add", "default", "via", "fd00:0::2")
        run("ip", "-n", f"n{between + 1}", "route", "add", "default", "via", f"fd00:{between}::1")
    return f"fd00:{between}::2", f"n{between + 1}"


SIDECAR = """
user root; worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; keepalive_requests 1000000; keepalive_timeout 600s;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream next {{ server [{upstream}]:{port}; keepalive 16; keepalive_requests 1000000; }}
  server {{
    listen [{own}]:{port};
    location / {{ proxy_pass http://next; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


def sidecar(node, own, upstream, folder):
    """An nginx in a namespace that passes requests on."""
    os.mkdir(folder)
    path = os.path.join(folder, "nginx.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(SIDECAR.format(folder=folder, own=own, upstream=upstream, port=PORT))
    return subprocess.Popen(["ip", "netns", "exec", node, NGINX, "-c", path, "-e", os.path.join(folder, "error.log")])


def reference(between, sidecars):
    """In namespaces of its own: serves, then does what it is told on standard input."""
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "tmpfs", "none", "/run")
    address, last = chain(between)
    children = [subprocess.Popen(["ip", "netns", "exec", last, sys.executable, __file__, "serve", address])]
    if sidecars:
        # The folders vanish with the mount namespace.
        children.append(sidecar("n1", "fd00:0::2", "fd00:2::2", "/run/near"))
        children.append(sidecar(f"n{between}", "fd00:2::2", address, "/run/far"))
        address = "fd00:0::2"
    print("up", flush=True)
    for line in sys.stdin:
        words = ["ip", "netns", "exec", "n0", sys.executable, __file__, line.strip(), address]
        print(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.strip(), flush=True)
    for child in children:
        child.kill()


class Reference:
    def __init__(self, between, sidecars=False):
        user = ["--user", "--map-root-user"] if os.geteuid() != 0 else []
        words = ["unshare", *user, "--net", "--mount", "--pid", "--fork", "--kill-child"]
        words += [sys.executable, __file__, "reference", str(between), *(["sidecars"] if sidecars else [])]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)
        if self.process.stdout.readline() != "up\n":
            sys.exit("a reference could not be built")

    def __call__(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Mesh:
    def __init__(self, damc):
        self.lab = Lab(damc, os.path.join(HERE, "chain.yaml"), "--lab", f"bench-{os.getpid()}")
        self.server = subprocess.Popen(self.words("pod-b", "serve", "::"))
        deadline = time.monotonic() + 10
        while not self.lab.listens("pod-b", PORT):
            if time.monotonic() > deadline:
                sys.exit("the server in pod-b does not listen")
            time.sleep(0.05)

    def words(self, pod, *words):
        return self.lab.words(pod, sys.executable, os.path.abspath(__file__), *words)

    def __call__(self, what):
        done = subprocess.run(self.words("pod-a", what, "b.example.damc"), check=True, capture_output=True, text=True)
        return json.loads(done.stdout)

    def end(self):
        self.server.kill()
        self.lab.down()


def absent_programs():
    absent = {}
    if not IPERF:
        absent["iperf3"] = "not installed (apt install iperf3): the TCP flow is a sender of our own"
    if not NGINX:
        absent["sidecars"] = "nginx is not installed (apt install nginx-light)"
    return absent


def measure(paths):
    """One round of every path: its figures."""
    found = {name: {} for name in paths}
    for what in ("latency", "throughput"):
        for name, path in paths.items():
            # A proxy carries requests, not flows.
            if (what, name) != ("throughput", "sidecars"):
                found[name].update(path(what))
    return found


def main(damc, folder):
    absent = absent_programs()
    for what, why in absent.items():
        print(f"{what}: {why}", file=sys.stderr)
    paths = {}
    try:
        paths["mesh"] = Mesh(damc)
        paths["kernel"] = Reference(3)
        paths["direct"] = Reference(0)
        if NGINX:
            paths["sidecars"] = Reference(3, sidecars=True)
        rounds = [measure(paths) for _ in range(ROUNDS)]
    finally:
        for path in paths.values():
            path.end()
    report.write(damc, folder, measured(rounds, list(paths), absent))


def measured(rounds, names, absent):
    keys = {"p50_us": "p50, µs", "p99_us": "p99, µs", "mbit_s": "Mbit/s"}
    rows = [[name, *([one[name][key] for one in rounds if key in one[name]] for key in keys)] for name in names]
    ratios_of = [ratios(one) for one in rounds]
    compared = [[what, [one[what] for one in ratios_of]] for what in ratios_of[0]]
    return {
        "name": "services",
        "title": "Programs by name",
        "about": f"Medians of {len(rounds)} rounds that alternate, least and most in brackets; {REQUESTS} requests of 1 kB "
        "and one TCP flow in each",
        "tables": [
            {"columns": ["over", *keys.values()], "rows": rows},
            {"heading": "Compared, round by round", "columns": ["what", "value"], "rows": compared},
        ],
        "notes": report.not_measured(absent),
        "run": {"rounds": len(rounds), "requests": REQUESTS, "flow": "iperf3" if IPERF else "own sender"},
    }


def ratios(one):
    """What a round comes to. Added times are over one veth pair."""
    added = {name: found["p50_us"] - one["direct"]["p50_us"] for name, found in one.items() if name != "direct"}
    result = {
        "added to p50 by the mesh, µs": added["mesh"],
        "added to p50 by the mesh over the kernel's chain, µs": one["mesh"]["p50_us"] - one["kernel"]["p50_us"],
        "throughput of the mesh to that of the kernel's chain": one["mesh"]["mbit_s"] / one["kernel"]["mbit_s"],
    }
    if "sidecars" in added:
        result["added to p50 by the mesh to that by sidecars"] = added["mesh"] / added["sidecars"]
    return result


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", address]:
            serve(address)
        case ["latency", address]:
            latency(address)
        case ["throughput", address]:
            throughput(address)
        case ["checksums-off", interface]:
            checksums_off(interface)
        case ["reference", between, *rest]:
            reference(int(between), bool(rest))
        case [damc, folder]:
            main(damc, folder)
        case _:
            sys.exit(__doc__.rsplit("\n\n", 1)[1])
