#!/usr/bin/env python3
"""FRR and BIRD (OSPFv2) on the routers and links of a topology file: cold start, memory, and what is lost at cuts.

One run is one lab, brought up, measured and gone. What counts is what counts for ours:

    cold start       from the first namespace to be made until every router's FIB is what the graph asks for, in the kernel:
                     the /32 of every other router, by all next hops on shortest paths. Links and daemons included
    loss             for how long packets were lost, thrown a millisecond apart along one flow between the SGs between which
                     ours go; links cut are the first three of the flow's path without which there still is a way, and for
                     silent cuts the last of those. Between cuts all timers come to rest
    memory           PSS of all daemons, converged

What differs in favour of the peers: their links have no delay, where 1 ms of ours counts as lost what is on the failing
link; they forward in the kernel, which by itself leaves a link without carrier for an equal path; nothing is signed or
checked; FIBs hold addresses of routers only, and no names of services; the stream comes from a process with priority.
Against them: a link is two veth pairs and a bridge, made by iproute2, which is listed as a step of its own. Fast reroute
is used by none of them: ospfd's needs segment routing over MPLS.

usage: routing_peers.py CASE < PLAN      prints figures as JSON; cases are the keys of CASES, a plan is that of
`damc plan --json`
"""

import json
import os
import random
import subprocess
import sys
import time

from core import Core
from lab import Plan
from namespaces import PRIVATE, cleared, settle_in
from probe import Probe
from routing_daemons import Bird, Frr
from wires import Wires

# Silent cuts in a run: where BFD tells of them, where calm returns slowly, and where hellos tell of them.
SILENT, SILENT_SLOW, SILENT_BY_HELLO = 3, 2, 1
LINKS_CUT = 3
ATTEMPTS = 5
COLD_LIMIT, SETTLE_LIMIT, RUN_LIMIT = 90, 40, 300

# What is run: who, how it is called, how it is made, whether carrier is cut, and silent cuts.
CASES = {
    "frr": (Frr, "ospfd, default timers, hellos 1 s", {"tuned": False}, True, 0),
    "frr-tuned": (Frr, "ospfd, tuned", {"tuned": True}, True, SILENT_BY_HELLO),
    "frr-bfd-50": (Frr, "ospfd, tuned, BFD 50 ms × 3", {"tuned": True, "bfd_ms": 50}, False, SILENT),
    "frr-bfd-30": (Frr, "ospfd, tuned, BFD 30 ms × 3", {"tuned": True, "bfd_ms": 30}, False, SILENT),
    "bird-bfd-50": (Bird, "ospf, hellos 1 s, tick 1, BFD 50 ms × 3", {"bfd_ms": 50}, True, SILENT_SLOW),
}


def available():
    """Cases that can be run here, with their full names, and why the others cannot."""
    found, absent = {}, {}
    for case, (peer, how, *_) in CASES.items():
        if why := peer.why_not() or (os.geteuid() != 0 and "root is needed for its namespaces"):
            absent[peer.__name__.upper()] = why
        else:
            found[case] = f"{peer.label()}: {how}"
    return found, absent


def run_case(case, plan):
    """In namespaces of its own: figures by name, values in ms and MiB, or why there are none."""
    cleared()
    words = [*PRIVATE, sys.executable, os.path.abspath(__file__), case]
    try:
        done = subprocess.run(words, input=json.dumps(plan.said), capture_output=True, text=True, timeout=RUN_LIMIT)
    except subprocess.TimeoutExpired:
        return {}, f"not through within {RUN_LIMIT} s"
    if done.returncode != 0:
        return {}, done.stderr.strip().rsplit("\n", 1)[-1]
    return json.loads(done.stdout.rsplit("\n", 2)[-2]), None


# ===== inside =====


class Lab:
    def __init__(self, core, make):
        self.core = core
        began = time.monotonic()
        self.wires = Wires(core)
        made = time.monotonic()
        self.daemons = make(self.wires)
        self.daemons.start()
        started = time.monotonic()
        self.wait(self.wires.missing, COLD_LIMIT, "a route to every router")
        reached = time.monotonic()
        self.wait(self.wires.wrong, COLD_LIMIT, "every FIB as the graph asks for")
        ready = time.monotonic()
        steps = {
            "cold start: links made": made - began,
            "cold start: all daemons started": started - began,
            "cold start: every router has a route to every other": reached - began,
            "cold start: converged, in all": ready - began,
        }
        self.figures = {name: [value * 1e3] for name, value in steps.items()}

    def wait(self, lacking, limit, what):
        """Until no router lacks anything. One at a time is asked, so that asking costs next to nothing."""
        deadline = time.monotonic() + limit
        pending = list(self.core.nodes)
        while pending:
            if not (left := lacking(pending[-1])):
                pending.pop()
                continue
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: after {limit} s {pending[-1]} lacks {', '.join(left[:5])}")
            self.daemons.check()
            time.sleep(0.005)

    def settled(self, cut=None):
        what = f"FIBs without {' – '.join(cut)}" if cut else "FIBs of the whole graph"
        self.wait(lambda name: self.wires.wrong(name, cut), SETTLE_LIMIT, what)

    def rest(self, probe):
        """Until the back-off of all timers is over, for a cut is to come out of the blue, and at no fixed phase of those
        that tick every second. The links that the flow then uses, without which there still is a way."""
        for _ in range(ATTEMPTS):
            self.settled()
            time.sleep(self.daemons.rest + random.random())
            # Equal paths may be chosen anew after each cut.
            if not any(map(self.wires.wrong, self.core.nodes)) and (path := probe.path()):
                links = self.core.spare(path)
                if all(map(self.daemons.watched, links)):
                    return links
        raise TimeoutError("routes do not come to rest")

    def cut(self, probe, which, silent):
        """Loss at a cut of one of the links of the path."""
        link = self.rest(probe)[which]
        fault = self.wires.silence if silent else self.wires.cut
        loss = probe.through(lambda: fault(link))
        self.settled(link)
        self.wires.mend(link, silent)
        return loss

    def cuts(self, carrier, silent):
        probe = Probe(self.wires, *self.core.endpoints())
        if carrier:
            number = len(self.rest(probe)[:LINKS_CUT])
            self.figures["loss at a cut with carrier"] = [self.cut(probe, which, False) for which in range(number)]
        if silent:
            self.figures["loss at a silent cut"] = [self.cut(probe, -1, True) for _ in range(silent)]


def main(case):
    peer, _, options, carrier, silent = CASES[case]
    settle_in()
    lab = Lab(Core(Plan(json.load(sys.stdin))), lambda wires: peer(wires, **options))
    time.sleep(lab.daemons.rest)
    lab.figures["memory, MiB"] = [lab.daemons.memory_mib()]
    lab.cuts(carrier, silent)
    lab.daemons.check()
    print(json.dumps(lab.figures))


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in CASES:
        sys.exit(__doc__.rsplit("\n\n", 1)[1])
    main(*sys.argv[1:])
