#!/usr/bin/env python3
"""What traffic loses when a link of its path fails, and when each step is over: `just bench-convergence`.

Ours: the cases `outage-carrier` and `outage-silent` of the conformance suite (1000 requests a second, links with 1 ms of
delay on the relay or netem), some rounds each: on Figure 2 with the echo at 30 ms, of which three make a silent failure,
and on a random graph of 50 routers with the echo that its size asks for. Cases that do not pass are named. Then the cold
start: from the command until every FIB is what the graph asks for, and the memory of all nodes' processes (PSS).

FRR and BIRD, where they are installed (`routing_peers.py`, which says what differs): OSPFv2 on the SRs and SGs of the same
file and the links among them, in the same rounds, one after the other, so that all see the same machine. Losses are of
the same kind, one flow between the same SGs. Ours has the pods, SPAs and the SCSC besides, in time and memory.

A part of each loss of ours is what was on the failing link itself; links of the peers have no delay.

usage: convergence.py DAMC FOLDER [ROUNDS]
"""

import glob
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile

import routing_peers
from labs import memory_mib, run
from namespaces import cleared

ROUNDS = 5
ROUTERS = 50
ECHO_MS = 30
FIG2 = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "topologies", "fig2.yaml")
# Columns of the table in which all stand beside each other, and the figures they hold, the first there is.
COLUMNS = {
    "cold start": ["cold start: converged, in all"],
    "loss, carrier": ["loss at a cut with carrier"],
    "loss, silent": ["loss at a silent cut", "loss at a silent cut, median"],
    "memory, MiB": ["memory, MiB"],
}


# ===== ours =====


def figures(damc, topology, echo, results, unmet):
    """One round: figures by name, those of several links in one list."""
    words = [damc, "run", topology, *echo, "--case", "outage-*", "--results", results]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode not in (0, 1, 3):
        sys.exit(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    report = json.load(open(max(glob.glob(os.path.join(results, "*", "*", "report.json")), key=os.path.getmtime)))
    found = {}
    for case in report["cases"]:
        if case["verdict"] != "pass":
            unmet.append(f"{case['id']} {case['verdict']}: {case.get('reason')}")
            print(unmet[-1], file=sys.stderr)
            continue
        for figure in case.get("figures", []):
            name = re.sub(r"^loss at a cut of .* with carrier$", "loss at a cut with carrier", figure["name"])
            found.setdefault(name, []).append(figure["value"])
    return found


def cold(damc, topology):
    """From the command to converged, ms, and the memory then."""
    cleared()
    said = run(damc, "up", topology, "--detach", "--converge-within", "120")
    name = re.search(r"lab (\S+) is ready after (\d+) ms", said)
    try:
        ready, converged = float(name[2]), float(re.search(r"converged (\d+) ms", said)[1])
        memory = memory_mib(f"/{name[1]}/")
    finally:
        run(damc, "down", name[1])
    return {
        "cold start: all daemons ready": [ready],
        "cold start: converged after that": [converged],
        "cold start: converged, in all": [ready + converged],
        "memory, MiB": [memory] if memory else [],
    }


def ours(damc, topology, echo, results):
    unmet = []
    return {**figures(damc, topology, echo, results, unmet), **cold(damc, topology)}, unmet


# ===== all =====


class Samples:
    """What the rounds of one way have given, and what did not."""

    def __init__(self):
        self.values, self.unmet = {}, []

    def add(self, found, unmet):
        for name, values in found.items():
            self.values.setdefault(name, []).extend(values)
        self.unmet += unmet

    def as_json(self):
        return {"figures": {name: sorted(found) for name, found in self.values.items()}, "unmet": self.unmet}


def measure(damc, topology, echo, results, peers, rounds):
    """All rounds: sorted values by name, and what did not pass; those of the peers by peer."""
    samples = {way: Samples() for way in ["damc", *peers.values()]}
    for number in range(rounds):
        samples["damc"].add(*ours(damc, topology, echo, results))
        for case, way in peers.items():
            found, why = routing_peers.run_case(case, topology)
            samples[way].add(found, [why] if why else [])
            print(f"{way}: {why or found}", file=sys.stderr)
        print(f"{topology}: round {number + 1} of {rounds}", file=sys.stderr)
    own = samples.pop("damc").as_json()
    return {**own, "peers": {way: found.as_json() for way, found in samples.items()}}


# ===== report =====


def rows(graph):
    lines = ["| what | median | least | most | values |", "|---|---|---|---|---|"]
    for what, v in graph["figures"].items():
        if v:
            lines.append(f"| {what} | {statistics.median(v):.2f} | {v[0]:.2f} | {v[-1]:.2f} | {len(v)} |")
    return lines + [""] + [f"Not counted: {case}." for case in graph["unmet"]]


def cell(found, names):
    v = next((found[name] for name in names if found.get(name)), None)
    return f"{statistics.median(v):.1f} ({v[0]:.1f}–{v[-1]:.1f}), {len(v)}" if v else "–"


def beside(graph):
    """Ours and the peers in one table."""
    lines = ["| who | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for who, way in {"damc": graph, **graph["peers"]}.items():
        lines.append(f"| {who} | " + " | ".join(cell(way["figures"], names) for names in COLUMNS.values()) + " |")
    return lines


def markdown(result):
    lines = [
        "# Convergence",
        "",
        f"{os.cpu_count()} processors, kernel {platform.release()}, load {os.getloadavg()[0]:.2f} at the end. "
        f"{result['rounds']} rounds, 1000 requests a second; ms. "
        "`everywhere after` counts from the order to cut until the last router concerned.",
    ]
    for name, graph in result["graphs"].items():
        lines += ["", f"## {name}", "", *rows(graph)]
        if graph["peers"]:
            lines += ["", f"### {name}: all beside each other", ""]
            lines += ["Median, least and most in brackets, number of values.", "", *beside(graph)]
        for way, found in graph["peers"].items():
            lines += ["", f"### {name}: {way}", "", *rows(found)]
    lines += [""] + [f"Not measured: {peer}: {why}." for peer, why in result["absent"].items()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def main(damc, folder, rounds=ROUNDS):
    peers, absent = routing_peers.available()
    with tempfile.TemporaryDirectory() as scratch:
        graph = os.path.join(scratch, "routers.yaml")
        run(damc, "generate", "barabasi", "--nodes", str(ROUTERS), "--gateways", "4", "--name", "routers", "-o", graph)
        results = os.path.join(scratch, "results")
        graphs = {
            f"Figure 2, echo every {ECHO_MS} ms": (FIG2, ["--echo", str(ECHO_MS)]),
            f"{ROUTERS} SRs, 4 SGs, random": (graph, []),
        }
        measured = {name: measure(damc, *which, results, peers, int(rounds)) for name, which in graphs.items()}
    result = {"kernel": platform.release(), "rounds": int(rounds), "graphs": measured, "absent": absent}
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "convergence.json"), "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    open(os.path.join(folder, "convergence.md"), "w").write(markdown(result))
    print(markdown(result))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__.rsplit("\n\n", 1)[1])
    main(*sys.argv[1:])
