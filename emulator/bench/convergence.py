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

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import report
import routing_peers
from lab import Lab, Plan, run
from namespaces import cleared

ROUNDS = 5
ROUTERS = 50
ECHO_MS = 30
FIG2 = str(Path(__file__).parents[2] / "topologies" / "fig2.yaml")
# Columns of the table in which all stand side by side, and the figures they hold, the first there is.
COLUMNS = {
    "cold start, ms": ["cold start: converged, in all"],
    "loss, carrier, ms": ["loss at a cut with carrier"],
    "loss, silent, ms": ["loss at a silent cut", "loss at a silent cut, median"],
    "memory, MiB": ["memory, MiB"],
}


# ===== ours =====


def figures(damc, topology, echo, results, unmet):
    """One round: figures by name, those of several links in one list."""
    words = [damc, "run", topology, *echo, "--case", "outage-*", "--results", results]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode not in (0, 1, 3):
        sys.exit(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    newest = max(Path(results).glob("*/*/report.json"), key=os.path.getmtime)
    found = {}
    for case in json.loads(newest.read_text())["cases"]:
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
    with Lab(damc, topology, "--converge-within", "120") as lab:
        ready, converged = lab.state["ready_ms"], lab.state["converged_ms"]
        memory = lab.memory_mib()
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
    """What the rounds of one implementation have given, and what did not pass."""

    def __init__(self):
        self.values, self.unmet = {}, []

    def add(self, found, unmet):
        for name, values in found.items():
            self.values.setdefault(name, []).extend(values)
        self.unmet += unmet


def measure(damc, topology, echo, results, peers, rounds):
    """All rounds: samples by implementation, ours first."""
    plan = Plan.of(damc, topology)
    samples = {who: Samples() for who in ["damc", *peers.values()]}
    for number in range(rounds):
        samples["damc"].add(*ours(damc, topology, echo, results))
        for case, who in peers.items():
            found, why = routing_peers.run_case(case, plan)
            samples[who].add(found, [why] if why else [])
            print(f"{who}: {why or found}", file=sys.stderr)
        print(f"{topology}: round {number + 1} of {rounds}", file=sys.stderr)
    return samples


# ===== report =====


def first(found, names):
    return next((found[name] for name in names if found.get(name)), [])


def tables(name, samples):
    """One table with everything of ours, one of all side by side, and one of each peer."""
    for number, (who, found) in enumerate(samples.items()):
        rows = [[what, values, str(len(values))] for what, values in found.values.items() if values]
        heading = f"{name}: {who}" if number else name
        yield {"heading": heading, "columns": ["what", "ms or MiB", "values"], "rows": rows}
        if not number and len(samples) > 1:
            rows = [[each, *(first(f.values, names) for names in COLUMNS.values())] for each, f in samples.items()]
            yield {"heading": f"{name}: all side by side", "columns": ["who", *COLUMNS], "rows": rows}


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
        samples = {name: measure(damc, *which, results, peers, int(rounds)) for name, which in graphs.items()}
    unmet = [
        f"Not counted: {name}, {who}: {why}."
        for name, all_ in samples.items()
        for who, f in all_.items()
        for why in f.unmet
    ]
    report.write(
        damc,
        folder,
        {
            "name": "convergence",
            "title": "Convergence",
            "about": f"{rounds} rounds, 1000 requests a second. Medians, least and most in brackets; "
            "`everywhere after` counts from the order to cut until the last router concerned",
            "tables": [table for name, found in samples.items() for table in tables(name, found)],
            "notes": [*unmet, *report.not_measured(absent)],
            "run": {"rounds": int(rounds), "echo_ms": ECHO_MS, "routers": ROUTERS},
        },
    )


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__.rsplit("\n\n", 1)[1])
    main(*sys.argv[1:])
