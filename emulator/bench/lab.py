"""Labs of ours, and what a topology is made of, by `damc … --json`."""

import json
import os
import re
import subprocess
from pathlib import Path


def run(*words, **options):
    return subprocess.run(words, check=True, capture_output=True, text=True, **options).stdout


class Plan:
    """What `damc plan --json` says of a topology."""

    def __init__(self, said):
        self.said = said
        configs = [process["config"] for process in said["processes"]]
        self.nodes = {config["node"]: config for config in configs}
        self.links = [(link["a"]["node"], link["b"]["node"]) for link in said["links"]]

    @classmethod
    def of(cls, damc, topology):
        return cls(json.loads(run(damc, "plan", topology, "--json")))

    def of_role(self, *roles):
        return sorted(name for name, config in self.nodes.items() if config["role"] in roles)

    def plain(self):
        """The same topology without delays, rates and costs, as a topology file: JSON is YAML."""
        entries = {name: self._entry(config) for name, config in self.nodes.items()}
        links = [list(link) for link in self.links]
        return json.dumps(
            {"name": self.said["topology"], "domain": self.said["domain"], "nodes": entries, "links": links}
        )

    @staticmethod
    def _entry(config):
        entry = {"kind": config["role"]}
        if config["transit"]:
            entry["transit"] = True
        if services := config.get("services"):
            entry["services"] = [{key: s[key] for key in ("prefix", "pool") if key in s} for s in services]
        return entry


class Lab:
    """A lab that is up and has converged; it ends with the `with` block, or by `down`."""

    def __init__(self, damc, topology, *options):
        self.damc = damc
        self.state = json.loads(run(damc, "up", topology, "--detach", "--json", *options))
        self.name = self.state["lab"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.name:
            self.down()

    def down(self):
        run(self.damc, "down", self.name)
        self.name = None

    def words(self, node, *words):
        """The command that runs these words inside a node."""
        return [self.damc, "exec", "--lab", self.name, node, "--", *words]

    def show(self, node, what):
        return json.loads(run(self.damc, "show", node, what, "--json", "--lab", self.name))

    def listens(self, node, port):
        """Whether something in a node listens on a TCP port."""
        return f":{port:04X} " in run(*self.words(node, "cat", "/proc/net/tcp6"))

    def resident_bytes(self, node):
        lab = next(lab for lab in json.loads(run(self.damc, "ps", "--json")) if lab["lab"] == self.name)
        return next(found["resident_bytes"] for found in lab["nodes"] if found["name"] == node)

    def memory_mib(self):
        """Proportional share (PSS) of all node processes. They have a process namespace of their own, so they are found
        by the lab's folder in their command lines."""
        total, folder = 0, self.state["directory"]
        for process in filter(lambda path: path.name.isdigit(), Path("/proc").iterdir()):
            try:
                words = (process / "cmdline").read_text().split("\0")
                if folder in " ".join(words[1:]) and os.path.basename(words[0]).startswith("damc-"):
                    rollup = (process / "smaps_rollup").read_text()
                    total += int(re.search(r"(?m)^Pss:\s+(\d+)", rollup)[1])
            except OSError:
                continue  # It has ended, or is no process of ours.
        return total / 1024 or None
