#!/usr/bin/env python3
"""How long labs take to come up, converge and go, and what they weigh: `just bench-labs`.

    up         from the command until all daemons are ready
    converged  from there until every FIB is what the graph asks for
    down       from `damc down` until the prompt returns; with `ip` alone the kernel has then only begun
    memory     proportional share (PSS) of all nodes' processes, converged

Graphs are random (Barabási), links plain veth pairs. Beside them in the same rounds: the same namespaces and veth pairs
by `ip -batch` alone, without any daemon, and Mininet where it is installed, with the same nodes as its hosts (each has a
shell and an address, and nothing else runs). Rounds alternate, so that all see the same machine. Writes JSON, markdown
and a plot; what is not installed is named in them. Routing daemons of others are in `convergence.py`.

Sizes are 16, 50, 100 and 300 nodes unless others are given. 1000 has to be asked for: 300 already take about a minute a
round, and the memory of ours grows faster than the number of nodes.

usage: labs.py DAMC FOLDER [NODES ...]
"""

import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from namespaces import PRIVATE, cleared

SIZES = [16, 50, 100, 300]
ROUNDS = 5
CONVERGE_S = 600
# Of eight SRs one has an SG, and with it an SPA and a pod.
SHARE = 8 / 11


def run(*words, **options):
    return subprocess.run(words, check=True, capture_output=True, text=True, **options).stdout


# ===== ours =====


def topology(damc, nodes, folder):
    """Writes a graph of about so many nodes and gives its file and name."""
    name = f"bench{nodes}"
    path = os.path.join(folder, name + ".yaml")
    srs = max(2, round(nodes * SHARE))
    gateways = max(2, (nodes - srs) // 3)
    run(damc, "generate", "barabasi", "--nodes", str(srs), "--gateways", str(gateways), "--name", name, "-o", path)
    text = open(path).read()
    # The generator's links have a delay and a rate; these are to have nothing that must be served.
    text = re.sub(r"(?m)^defaults:\n(?:  .*\n)+\n?", "", text)
    open(path, "w").write(text)
    return path, name


def memory_mib(folder):
    """PSS of all node processes whose lab runs in this folder; the lab has a process namespace of its own."""
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline").read().split("\0")
            if folder in " ".join(words[1:]) and os.path.basename(words[0]).startswith("damc-"):
                rollup = open(f"/proc/{pid}/smaps_rollup").read()
                total += int(re.search(r"(?m)^Pss:\s+(\d+)", rollup)[1])
        except OSError:
            continue  # It has ended, or is no process of ours.
    return total / 1024 or None


def ours(damc, path, name):
    """One round: what is measured, in ms and MiB."""
    began = time.perf_counter()
    said = run(damc, "up", path, "--detach", "--converge-within", str(CONVERGE_S))
    try:
        whole = (time.perf_counter() - began) * 1e3
        ready = re.search(r"ready after (\d+) ms: (\d+) nodes, (\d+) links", said)
        converged = re.search(r"converged (\d+) ms", said)
        figures = {
            "up": float(ready[1]),
            "converged": float(converged[1]),
            "whole": whole,
            "memory": memory_mib(f"/{name}/"),
        }
    finally:
        began = time.perf_counter()
        run(damc, "down", name)
    figures["down"] = (time.perf_counter() - began) * 1e3
    return figures, int(ready[2]), int(ready[3])


# ===== peers =====


def edges(path):
    """The links of a topology file, as pairs of names."""
    return re.findall(r"(?m)^  - \[([\w-]+), ([\w-]+)", open(path).read())


def by_ip(path):
    """Namespaces and veth pairs alone, made and removed by iproute2."""
    links = edges(path)
    names = sorted({node for link in links for node in link})
    label = {node: f"lb{number}" for number, node in enumerate(names)}
    make = [f"netns add {label[node]}" for node in names]
    make += [
        f"link add v{n}a netns {label[a]} type veth peer name v{n}b netns {label[b]}" for n, (a, b) in enumerate(links)
    ]
    began = time.perf_counter()
    try:
        run("ip", "-batch", "-", input="\n".join(make))
        for node in names:
            ends = [f"v{n}{'a' if a == node else 'b'}" for n, (a, b) in enumerate(links) if node in (a, b)]
            run("ip", "-n", label[node], "-batch", "-", input="\n".join(f"link set {end} up" for end in ends))
        up = (time.perf_counter() - began) * 1e3
    finally:
        began = time.perf_counter()
        subprocess.run(["ip", "-batch", "-"], input="\n".join(f"netns del {label[node]}" for node in names), text=True)
    return {"up": up, "down": (time.perf_counter() - began) * 1e3}


# Names of hosts are short: an interface is called after its host, and may have 15 letters.
MININET = """
import resource, sys, time
from mininet.net import Mininet
from mininet.topo import Topo
links = [line.split() for line in sys.stdin]
label = {node: f"h{n}" for n, node in enumerate(sorted({n for link in links for n in link}))}
class Graph(Topo):
    def build(self):
        for node in label.values():
            self.addHost(node)
        for a, b in links:
            self.addLink(label[a], label[b])
# Mininet would raise limits of the whole machine, which the next measurement would find changed; this one is enough.
Mininet.inited = True
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
began = time.perf_counter()
net = Mininet(topo=Graph(), controller=None)
net.start()
up = time.perf_counter()
made = sum(len(host.intfList()) for host in net.hosts)
net.stop()
down = time.perf_counter()
assert made == 2 * len(links), f"{made} interfaces of {2 * len(links)}"
print((up - began) * 1e3, (down - up) * 1e3)
"""


def by_mininet(path):
    """The same graph of hosts, in Mininet. It ends its hosts itself; were it killed, they would go with its namespaces."""
    lines = "\n".join(" ".join(link) for link in edges(path))
    said = run(*PRIVATE, python_with("mininet"), "-c", MININET, input=lines)
    up, down = map(float, said.split()[-2:])
    return {"up": up, "down": down}


def python_with(module):
    """A Python that has a module: this one, or the system's, for which packages are installed."""
    for python in (sys.executable, "/usr/bin/python3"):
        words = [python, "-c", f"import {module}"]
        if os.path.exists(python) and subprocess.run(words, capture_output=True).returncode == 0:
            return python
    return None


def peers():
    """What is installed, and why the rest is not measured."""
    found, absent = {}, {}
    if shutil.which("ip"):
        found["ip -batch, no daemons"] = by_ip
    else:
        absent["ip -batch"] = "iproute2 is not installed"
    if not python_with("mininet"):
        absent["Mininet"] = "not installed"
    elif os.geteuid() != 0:
        absent["Mininet"] = "root is needed for it"
    else:
        found["Mininet, no daemons"] = by_mininet
    return found, absent


# ===== report =====


def summary(samples):
    """Median and spread of each figure."""
    keys = sorted({key for sample in samples for key in sample if sample[key] is not None})
    values = {key: sorted(s[key] for s in samples if s.get(key) is not None) for key in keys}
    return {key: {"median": statistics.median(v), "least": v[0], "most": v[-1]} for key, v in values.items()}


def cell(figures, key):
    if key not in figures:
        return "–"
    figure = figures[key]
    return f"{figure['median']:.0f} ({figure['least']:.0f}–{figure['most']:.0f})"


def markdown(result):
    machine = result["machine"]
    lines = [
        "# Labs: up, converged, down",
        "",
        f"{machine['processors']} processors, kernel {machine['kernel']}. Medians of {result['rounds']} rounds that alternate, "
        "least and most in brackets; ms, and MiB of all nodes together (PSS).",
        "",
        "| nodes | links | way | all up | converged after that | down | memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        for way, figures in row["ways"].items():
            cells = [cell(figures, key) for key in ("up", "converged", "down", "memory")]
            lines.append(f"| {row['nodes']} | {row['links']} | {way} | " + " | ".join(cells) + " |")
    lines += [""] + [f"Not measured: {peer}: {why}." for peer, why in result["absent"].items()]
    return "\n".join(lines + ["", "![ms by nodes](labs.svg)", ""])


COLOURS = ["#1b6ca8", "#c8553d", "#588b8b", "#8f6593", "#444444"]
DASHES = {"up": "", "converged": "6 3", "down": "2 2"}


def plot(result):
    """Lines of ms over nodes, both axes logarithmic, as SVG."""
    from math import log10

    lines = {}
    for row in result["rows"]:
        for way, figures in row["ways"].items():
            for key in ("up", "converged", "down"):
                if key in figures:
                    lines.setdefault((way, key), []).append((row["nodes"], max(figures[key]["median"], 1)))
    points = [point for line in lines.values() for point in line]
    (x0, x1), (y0, y1) = [(min(axis), max(axis)) for axis in zip(*points)]
    y0, y1 = 10 ** int(log10(y0)), 10 ** (int(log10(y1)) + 1)
    left, top, width, height = 80, 20, 420, 300

    def place(x, y):
        across = (log10(x) - log10(x0)) / max(log10(x1) - log10(x0), 1e-9)
        down = (log10(y1) - log10(y)) / (log10(y1) - log10(y0))
        return left + across * width, top + down * height

    parts = []
    y = y0
    while y <= y1:
        _, at = place(x0, y)
        parts.append(f'<path d="M{left} {at:.1f}H{left + width}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{y} ms</text>')
        y *= 10
    for x in sorted({x for x, _ in points}):
        across, _ = place(x, y0)
        parts.append(f'<text x="{across:.1f}" y="{top + height + 18}" text-anchor="middle">{x}</text>')
    ways = list(dict.fromkeys(way for way, _ in lines))
    for number, ((way, key), line) in enumerate(lines.items()):
        colour, dash = COLOURS[ways.index(way) % len(COLOURS)], DASHES[key]
        path = "L".join("%.1f %.1f" % place(x, y) for x, y in line)
        style = f'stroke="{colour}" stroke-dasharray="{dash}"'
        parts.append(f'<path d="M{path}" fill="none" stroke-width="2" {style}/>')
        at = top + 12 + 18 * number
        parts.append(f'<path d="M{left + width + 15} {at - 4}h24" stroke-width="2" {style}/>')
        parts.append(f'<text x="{left + width + 45}" y="{at}">{way}: {key}</text>')
    size = f'width="780" height="{max(top + height + 40, 40 + 18 * len(lines))}"'
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n'
        f'<text x="{left + width / 2}" y="{top + height + 36}" text-anchor="middle">nodes</text>\n</svg>\n'
    )


def main(damc, folder, sizes):
    found, absent = peers()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for size in sizes:
            path, name = topology(damc, size, scratch)
            samples = {}
            for number in range(ROUNDS):
                cleared()
                figures, nodes, links = ours(damc, path, name)
                samples.setdefault("damc", []).append(figures)
                for peer, measure in found.items():
                    cleared()
                    samples.setdefault(peer, []).append(measure(path))
                print(f"{nodes} nodes, round {number + 1}: {figures}", file=sys.stderr)
            rows.append({"nodes": nodes, "links": links, "ways": {way: summary(s) for way, s in samples.items()}})
    machine = {"processors": os.cpu_count(), "kernel": platform.release(), "load": os.getloadavg()[0]}
    result = {"machine": machine, "rounds": ROUNDS, "rows": rows, "absent": absent}
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "labs.json"), "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    open(os.path.join(folder, "labs.md"), "w").write(markdown(result))
    open(os.path.join(folder, "labs.svg"), "w").write(plot(result))
    print(markdown(result))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__.rsplit("\n\n", 1)[1])
    main(sys.argv[1], sys.argv[2], [int(size) for size in sys.argv[3:]] or SIZES)
