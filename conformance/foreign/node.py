#!/usr/bin/env python3
"""A node of the role that its configuration names: `node.py [--bare] CONFIG`; with `--bare` without management."""

import sys

from damc_node.node import load
from damc_node.pod import Pod
from damc_node.spa import Spa
from damc_node.sr import Sr

ROLES = {"sr": Sr, "spa": Spa, "pod": Pod}

if __name__ == "__main__":
    config = load()
    if config["role"] not in ROLES:
        raise SystemExit(f"this program is an SR, an SPA or a pod, not a node of role {config['role']}")
    node = ROLES[config["role"]](config)
    node.has_management = "--bare" not in sys.argv
    node.run()
