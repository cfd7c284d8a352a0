#!/usr/bin/env python3
"""What carrying programs by name costs, measured in one run beside the kernel's own IPv6: `just bench-services`.

    mesh     pod - SG - SR - SG - pod, packets by name, plain veth pairs (chain.yaml)
    kernel   the same chain of veth pairs and namespaces, with the kernel's IPv6 forwarding in the three in the middle
    sidecars the chain again, with an nginx in the place of each SG: a reverse proxy beside the client and one beside
             the server, standing connections between them (needs nginx)
    direct   one veth pair

Each: the time of a 1 kB HTTP request over a standing connection (median of many), and one TCP flow for some seconds
(iperf3 where it is installed, else a sender of our own). Rounds alternate, so that all see the same machine. Only
addresses inside namespaces made here are used. Writes JSON and a table; what is not installed is named in both.
"""

import array
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

HERE = os.path.dirname(os.path.abspath(__file__))
PORT = 5201
IPERF_PORT = 5202
IPERF = shutil.which("iperf3")
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
ROUNDS = 3
REQUESTS = 1500
SECONDS = 3


# ===== the programs =====


def serve(address):
    """HTTP of the simplest kind, and a sink: a connection that begins with `SINK` is read to its end. iperf3 beside it."""
    if IPERF:
        words = [IPERF, "-s", "-p", str(IPERF_PORT), "-B", address]
        threading.Thread(target=lambda: subprocess.run(words, stdout=subprocess.DEVNULL, check=False),
                         daemon=True).start()
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
                    rest = rest[end + 4:]
                    connection.sendall(answer)

    def guarded(connection):
        try:
            work(connection)
        except OSError:
            # A client that has what it wants.
            pass

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
        words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", sys.executable, __file__, "reference"]
        if os.geteuid() != 0:
            words[1:1] = ["--user", "--map-root-user"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([*words, str(between), *(["sidecars"] if sidecars else [])], stdin=pipe, stdout=pipe, text=True)
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
        self.damc, self.lab = damc, f"bench-{os.getpid()}"
        run(damc, "up", os.path.join(HERE, "chain.yaml"), "--detach", "--lab", self.lab)
        self.server = subprocess.Popen(self.words("pod-b", "serve", "::"))
        deadline = time.monotonic() + 10
        while b":1451 " not in subprocess.run([damc, "exec", "--lab", self.lab, "pod-b", "--", "cat", "/proc/net/tcp6"],
                                              capture_output=True, check=True).stdout:
            if time.monotonic() > deadline:
                sys.exit("the server in pod-b does not listen")
            time.sleep(0.05)

    def words(self, pod, *words):
        return [self.damc, "exec", "--lab", self.lab, pod, "--", sys.executable, os.path.abspath(__file__), *words]

    def __call__(self, what):
        done = subprocess.run(self.words("pod-a", what, "b.example.damc"), check=True, capture_output=True, text=True)
        return json.loads(done.stdout)

    def end(self):
        self.server.kill()
        run(self.damc, "down", self.lab)


def main(damc, out):
    ways, absent = {}, []
    if not IPERF:
        absent.append("iperf3 (apt install iperf3): the TCP flow is a sender of our own")
    if not NGINX:
        absent.append("nginx (apt install nginx-light): no figures of sidecars")
    for line in absent:
        print(f"not installed: {line}", file=sys.stderr)
    try:
        ways = {"mesh": Mesh(damc), "kernel": Reference(3), "direct": Reference(0)}
        if NGINX:
            ways["sidecars"] = Reference(3, sidecars=True)
        found = {name: {"p50_us": [], "p99_us": [], "mbit_s": []} for name in ways}
        for _ in range(ROUNDS):
            for what in ("latency", "throughput"):
                for name, way in ways.items():
                    # A proxy carries requests, not flows.
                    if (what, name) != ("throughput", "sidecars"):
                        for key, value in way(what).items():
                            found[name][key].append(value)
    finally:
        for way in ways.values():
            way.end()
    best = {name: {key: (max if key == "mbit_s" else min)(values, default=None) for key, values in keys.items()}
            for name, keys in found.items()}
    result = {
        "kernel": os.uname().release, "cpus": os.cpu_count(), "rounds": ROUNDS, "load": os.getloadavg(),
        "flow": "iperf3" if IPERF else "own sender", "absent": absent, "all": found, "best": best,
        "ratios": ratios(best),
    }
    with open(out, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    print(f"{'way':8} {'p50 us':>9} {'p99 us':>9} {'Mbit/s':>9}")
    for name, values in best.items():
        flow = "-" if values["mbit_s"] is None else f"{values['mbit_s']:.0f}"
        print(f"{name:8} {values['p50_us']:9.1f} {values['p99_us']:9.1f} {flow:>9}")
    for key, value in result["ratios"].items():
        print(f"{key}: {value:.3f}")


def ratios(best):
    """What the figures come to. Added times are over one veth pair."""
    added = {name: best[name]["p50_us"] - best["direct"]["p50_us"] for name in best if name != "direct"}
    result = {
        "added_p50_us": added["mesh"],
        "added_p50_over_kernel_chain_us": best["mesh"]["p50_us"] - best["kernel"]["p50_us"],
        "throughput_to_kernel_chain": best["mesh"]["mbit_s"] / best["kernel"]["mbit_s"],
    }
    if "sidecars" in added:
        result["added_p50_to_sidecars"] = added["mesh"] / added["sidecars"]
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
        case [damc, out]:
            main(damc, out)
        case _:
            sys.exit(f"usage: {sys.argv[0]} DAMC OUT.json")
