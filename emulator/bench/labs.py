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

import os
import shutil
import subprocess
import sys
import tempfile
import time
from math import log10
from pathlib import Path

import report
from lab import Lab, Plan, run
from namespaces import PRIVATE, cleared

SIZES = [16, 50, 100, 300]
ROUNDS = 5
CONVERGE_S = 600
# Of eight SRs one has an SG, and with it an SPA and a pod.
SHARE = 8 / 11
OURS = "damc"
# Figures by name, and the head of their column.
COLUMNS = {"up": "all up, ms", "converged": "converged after that, ms", "down": "down, ms", "memory": "memory, MiB"}


# ===== ours =====


def topology(damc, nodes, folder):
    """Writes a graph of about so many nodes; its file and its plan."""
    name = f"bench{nodes}"
    path = os.path.join(folder, name + ".yaml")
    srs = max(2, round(nodes * SHARE))
    gateways = max(2, (nodes - srs) // 3)
    run(damc, "generate", "barabasi", "--nodes", str(srs), "--gateways", str(gateways), "--name", name, "-o", path)
    # The generator's links have a delay and a rate; these are to have nothing that must be served.
    Path(path).write_text(Plan.of(damc, path).plain())
    return path, Plan.of(damc, path)


def ours(damc, path):
    """One round: what is measured, in ms and MiB."""
    with Lab(damc, path, "--converge-within", str(CONVERGE_S)) as lab:
        figures = {"up": lab.state["ready_ms"], "converged": lab.state["converged_ms"], "memory": lab.memory_mib()}
        began = time.perf_counter()
        lab.down()
    return {**figures, "down": (time.perf_counter() - began) * 1e3}


# ===== peers =====


def by_ip(plan):
    """Namespaces and veth pairs alone, made and removed by iproute2."""
    links = plan.links
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


def by_mininet(plan):
    """The same graph of hosts, in Mininet. It ends its hosts itself; were it killed, they would go with its namespaces."""
    lines = "\n".join(" ".join(link) for link in plan.links)
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


def measure(damc, sizes, found, scratch):
    """Rows of the table, round by round for each size."""
    rows = []
    for size in sizes:
        path, plan = topology(damc, size, scratch)
        samples = {who: [] for who in (OURS, *found)}
        for number in range(ROUNDS):
            cleared()
            samples[OURS].append(ours(damc, path))
            for peer, peers_round in found.items():
                cleared()
                samples[peer].append(peers_round(plan))
            print(f"{len(plan.nodes)} nodes, round {number + 1}: {samples[OURS][-1]}", file=sys.stderr)
        for who, rounds in samples.items():
            figures = [[one[key] for one in rounds if one.get(key) is not None] for key in COLUMNS]
            rows.append([len(plan.nodes), len(plan.links), who, *figures])
    return rows


COLOURS = ["#1b6ca8", "#c8553d", "#588b8b", "#8f6593", "#444444"]
DASHES = {"up": "", "converged": "6 3", "down": "2 2"}
LEFT, TOP, WIDTH, HEIGHT = 80, 20, 420, 300


def lines_of(table):
    """Points (nodes, ms) of each line of the plot, by who and what."""
    lines = {}
    for nodes, _, who, *cells in table["rows"]:
        for key, cell in zip(COLUMNS, cells, strict=True):
            if key in DASHES and (value := report.median(cell)) is not None:
                lines.setdefault((who, key), []).append((nodes, max(value, 1)))
    return lines


def plot(table):
    """Lines of ms over nodes, both axes logarithmic, as SVG."""
    lines = lines_of(table)
    points = [point for line in lines.values() for point in line]
    (x0, x1), (y0, y1) = [(min(axis), max(axis)) for axis in zip(*points, strict=True)]
    y0, y1 = 10 ** int(log10(y0)), 10 ** (int(log10(y1)) + 1)

    def place(x, y):
        across = (log10(x) - log10(x0)) / max(log10(x1) - log10(x0), 1e-9)
        down = (log10(y1) - log10(y)) / (log10(y1) - log10(y0))
        return LEFT + across * WIDTH, TOP + down * HEIGHT

    parts = []
    y = y0
    while y <= y1:
        _, at = place(x0, y)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{LEFT + WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{y} ms</text>')
        y *= 10
    for x in sorted({x for x, _ in points}):
        across, _ = place(x, y0)
        parts.append(f'<text x="{across:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{x}</text>')
    everybody = list(dict.fromkeys(who for who, _ in lines))
    for number, ((who, key), line) in enumerate(lines.items()):
        colour = COLOURS[everybody.index(who) % len(COLOURS)]
        path = "L".join("{:.1f} {:.1f}".format(*place(x, y)) for x, y in line)
        style = f'stroke="{colour}" stroke-dasharray="{DASHES[key]}"'
        parts.append(f'<path d="M{path}" fill="none" stroke-width="2" {style}/>')
        at = TOP + 12 + 18 * number
        parts.append(f'<path d="M{LEFT + WIDTH + 15} {at - 4}h24" stroke-width="2" {style}/>')
        parts.append(f'<text x="{LEFT + WIDTH + 45}" y="{at}">{who}: {key}</text>')
    size = f'width="780" height="{max(TOP + HEIGHT + 40, 40 + 18 * len(lines))}"'
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n'
        f'<text x="{LEFT + WIDTH / 2}" y="{TOP + HEIGHT + 36}" text-anchor="middle">nodes</text>\n</svg>\n'
    )


def main(damc, folder, sizes):
    found, absent = peers()
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(damc, sizes, found, scratch)
    measured = {
        "name": "labs",
        "title": "Labs: up, converged, down",
        "about": f"Medians of {ROUNDS} rounds that alternate, least and most in brackets; memory is that of all nodes "
        "together (PSS)",
        "tables": [{"columns": ["nodes", "links", "who", *COLUMNS.values()], "rows": rows}],
        "notes": [*report.not_measured(absent), "![ms by nodes](labs.svg)"],
        "run": {"rounds": ROUNDS},
    }
    written = report.write(damc, folder, measured)
    (Path(folder) / "labs.svg").write_text(plot(written["tables"][0]))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__.rsplit("\n\n", 1)[1])
    main(sys.argv[1], sys.argv[2], [int(size) for size in sys.argv[3:]] or SIZES)
