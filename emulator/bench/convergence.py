#!/usr/bin/env python3
"""What traffic loses when a link of its path fails, and when each step is over: `just bench-convergence`.

Runs the cases `outage-carrier` and `outage-silent` of the conformance suite (1000 requests a second, links with 1 ms of
delay on the relay or netem), some rounds each: on Figure 2 with the echo at 30 ms, of which three make a silent failure,
and on a random graph of 50 routers with the echo that its size asks for. Cases that do not pass are named. Then the cold start: from the command until every FIB is what the graph asks for.

A part of each loss is what was on the failing link itself. FRR and BIRD are named: nothing here measures them yet.

usage: convergence.py DAMC FOLDER
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

from labs import peers, run

ROUNDS = 5
ROUTERS = 50
ECHO_MS = 30


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
    """From the command to converged, ms."""
    said = run(damc, "up", topology, "--detach", "--converge-within", "120")
    name = re.search(r"lab (\S+) is ready after (\d+) ms", said)
    converged = re.search(r"converged (\d+) ms", said)
    run(damc, "down", name[1])
    return {"cold start: all daemons ready": [float(name[2])], "cold start: converged after that": [float(converged[1])]}


def measure(damc, topology, echo, results):
    """All rounds: sorted values by name, and what did not pass."""
    values, unmet = {}, []
    for number in range(ROUNDS):
        for name, found in {**figures(damc, topology, echo, results, unmet), **cold(damc, topology)}.items():
            values.setdefault(name, []).extend(found)
        print(f"{topology}: round {number + 1} of {ROUNDS}", file=sys.stderr)
    return {"figures": {name: sorted(found) for name, found in values.items()}, "unmet": unmet}


def markdown(result):
    lines = [
        "# Convergence",
        "",
        f"{os.cpu_count()} processors, kernel {platform.release()}, load {os.getloadavg()[0]:.2f} at the end. {ROUNDS} rounds, "
        "1000 requests a second; ms. "
        "`everywhere after` counts from the order to cut until the last router concerned.",
    ]
    for name, graph in result["graphs"].items():
        lines += ["", f"## {name}", "", "| what | median | least | most | values |", "|---|---|---|---|---|"]
        for what, v in graph["figures"].items():
            lines.append(f"| {what} | {statistics.median(v):.2f} | {v[0]:.2f} | {v[-1]:.2f} | {len(v)} |")
        lines += [""] + [f"Not counted: {case}." for case in graph["unmet"]]
    lines += [""] + [f"Not measured: {peer}: {why}." for peer, why in result["absent"].items() if peer in ("FRR", "BIRD")]
    return "\n".join(lines) + "\n"


def main(damc, folder):
    with tempfile.TemporaryDirectory() as scratch:
        graph = os.path.join(scratch, "routers.yaml")
        run(damc, "generate", "barabasi", "--nodes", str(ROUTERS), "--gateways", "4", "--name", "routers", "-o", graph)
        results = os.path.join(scratch, "results")
        graphs = {
            f"Figure 2, echo every {ECHO_MS} ms": ("fig2", ["--echo", str(ECHO_MS)]),
            f"{ROUTERS} SRs, 4 SGs, random": (graph, []),
        }
        measured = {name: measure(damc, *which, results) for name, which in graphs.items()}
    result = {"kernel": platform.release(), "rounds": ROUNDS, "graphs": measured, "absent": peers()[1]}
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "convergence.json"), "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    open(os.path.join(folder, "convergence.md"), "w").write(markdown(result))
    print(markdown(result))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.rsplit("\n\n", 1)[1])
    main(*sys.argv[1:])
