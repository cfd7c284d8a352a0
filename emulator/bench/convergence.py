#!/usr/bin/env python3
"""What traffic loses when a link of its path fails, and when each step is over: `just bench-convergence`.

Runs the cases `outage-carrier` and `outage-silent` of the conformance suite (1000 requests a second, links with 1 ms of
delay on the relay or netem) on Figure 2 and on a random graph of 50 routers, some rounds each, with the echo at 30 ms, of
which three make a silent failure. Then the cold start: from the command until every FIB is what the graph asks for.

A part of each loss is what was on the failing link itself. FRR and BIRD are named where they are not installed.

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


def figures(damc, topology, results):
    """One round: figures by name, those of several links in one list."""
    words = [damc, "run", topology, "--echo", str(ECHO_MS), "--case", "outage-*", "--results", results]
    done = subprocess.run(words, capture_output=True, text=True)
    # 3: the host was too busy to judge by; what was measured is told all the same.
    if done.returncode not in (0, 3):
        sys.exit(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    report = json.load(open(max(glob.glob(os.path.join(results, "*", "*", "report.json")), key=os.path.getmtime)))
    found = {}
    for case in report["cases"]:
        if case["verdict"] != "pass":
            print(f"{topology}: {case['id']} {case['verdict']}: {case.get('reason')}", file=sys.stderr)
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


def measure(damc, topology, results):
    """All rounds: sorted values by name."""
    values = {}
    for number in range(ROUNDS):
        for name, found in {**figures(damc, topology, results), **cold(damc, topology)}.items():
            values.setdefault(name, []).extend(found)
        print(f"{topology}: round {number + 1} of {ROUNDS}", file=sys.stderr)
    return {name: sorted(found) for name, found in values.items()}


def markdown(result):
    lines = [
        "# Convergence",
        "",
        f"{os.cpu_count()} processors, kernel {platform.release()}, load {os.getloadavg()[0]:.2f} at the end. {ROUNDS} rounds, "
        f"echo at {ECHO_MS} ms × 3, 1000 requests a second; ms. "
        "`everywhere after` counts from the order to cut until the last router concerned.",
    ]
    for name, values in result["graphs"].items():
        lines += ["", f"## {name}", "", "| what | median | least | most | values |", "|---|---|---|---|---|"]
        for what, v in values.items():
            lines.append(f"| {what} | {statistics.median(v):.2f} | {v[0]:.2f} | {v[-1]:.2f} | {len(v)} |")
    lines += [""] + [f"Not measured: {peer}: {why}." for peer, why in result["absent"].items() if peer in ("FRR", "BIRD")]
    return "\n".join(lines) + "\n"


def main(damc, folder):
    with tempfile.TemporaryDirectory() as scratch:
        graph = os.path.join(scratch, "routers.yaml")
        run(damc, "generate", "barabasi", "--nodes", str(ROUTERS), "--gateways", "4", "--name", "routers", "-o", graph)
        results = os.path.join(scratch, "results")
        graphs = {"Figure 2": "fig2", f"{ROUTERS} SRs, 4 SGs, random": graph}
        measured = {name: measure(damc, topology, results) for name, topology in graphs.items()}
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
