"""FRR and BIRD: their configurations, and how they are started.

Each router has daemons of its own in its network namespace, in the foreground as children of this process. All links are
point-to-point, all of one cost, in one area, and an SG is a stub router, so that ways are those of our own runs.
"""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from lab import run
from namespaces import within

FRR = "/usr/lib/frr"
# OSPF sends a router's own LSA again after 5 s at the earliest (MinLSInterval) where that is not tuned: a cut that comes
# sooner would not come out of the blue.
REST, REST_TUNED = 6, 2


def version(words):
    said = subprocess.run(words, capture_output=True, text=True)
    return re.search(r"\d+(\.\d+)+", said.stdout + said.stderr)[0]


class Daemons:
    """What is common to both."""

    def __init__(self, wires, bfd_ms):
        self.wires, self.bfd_ms, self.processes = wires, bfd_ms, []

    def folder(self, name):
        path = f"/run/peers/{self.wires.label[name]}"
        os.makedirs(path, exist_ok=True)
        return path

    def write(self, name, file, text):
        path = f"{self.folder(name)}/{file}"
        with open(path, "w") as written:
            written.write(text)
        return path

    def launch(self, name, *words):
        path = f"{self.folder(name)}/{os.path.basename(words[0])}.log"
        with within(self.wires.label[name]), open(path, "w") as log:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes.append((process, path))

    def watched(self, link):
        """BFD is up at both ends of a link, where it is asked for: a failure before that is found by hellos only."""
        return not self.bfd_ms or all(self.bfd_up(name, str(other)) for name, other in self.wires.beyond(link))

    def check(self):
        """All still run."""
        for process, log in self.processes:
            if process.poll() is not None:
                said = Path(log).read_text(errors="replace").strip().replace("\n", "; ")
                raise RuntimeError(
                    f"{os.path.basename(process.args[0])} ended with {process.returncode}: {said[-500:]}"
                )

    def memory_mib(self):
        """PSS of all of them."""
        total = 0
        for process, _ in self.processes:
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            total += int(re.search(r"(?m)^Pss:\s+(\d+)", rollup)[1])
        return total / 1024


class Frr(Daemons):
    """zebra and ospfd per router, and bfdd where BFD is asked for.

    Default: the timers that ospfd has by itself, hellos excepted, which are sent every second instead of every ten.
    Tuned: ten hellos a second, the first SPF at once, LSAs sent and taken without any interval between them, and routes
    handed to the kernel at once.
    """

    HELLO = ("ip ospf hello-interval 1", "ip ospf dead-interval 3")
    FAST_HELLO = ("ip ospf dead-interval minimal hello-multiplier 10", "ip ospf retransmit-interval 1")
    FAST = ("timers throttle spf 0 50 5000", "timers throttle lsa all 0", "timers lsa min-arrival 0")

    def __init__(self, wires, tuned, bfd_ms=None):
        super().__init__(wires, bfd_ms)
        self.tuned, self.rest = tuned, REST_TUNED if tuned else REST

    @staticmethod
    def why_not():
        lacking = [f for f in ("zebra", "ospfd", "bfdd") if not os.path.exists(f"{FRR}/{f}")]
        return f"no {', '.join(lacking)} in {FRR}" if lacking else None

    @staticmethod
    def label():
        return f"FRR {version([f'{FRR}/ospfd', '--version'])}"

    def zebra_conf(self):
        # The kernel drops a next hop without carrier from its groups, and zebra 8.4 does not put it back when the carrier
        # returns: of equal paths one stays unused. Routes with next hops of their own do not suffer from that.
        lines = ["no zebra nexthop kernel enable"]
        return "\n".join(lines + (["zebra work-queue 0"] if self.tuned else []) + [""])

    def ospfd_conf(self, name):
        lines = []
        for n, _ in self.wires.of(name):
            own = ["ip ospf network point-to-point", *(self.FAST_HELLO if self.tuned else self.HELLO)]
            own += ["ip ospf bfd", "ip ospf bfd profile fast"] if self.bfd_ms else []
            lines += [f"interface eth{n}", *(f" {line}" for line in own), "exit"]
        own = [f"ospf router-id {self.wires.loopback(name)}", "network 0.0.0.0/0 area 0"]
        own += self.FAST if self.tuned else []
        own += ["max-metric router-lsa administrative"] if name in self.wires.core.ends else []
        return "\n".join([*lines, "router ospf", *(f" {line}" for line in own), "exit", ""])

    def bfdd_conf(self):
        rate = [f"{way}-interval {self.bfd_ms}" for way in ("receive", "transmit")]
        own = ["  detect-multiplier 3", *(f"  {line}" for line in rate)]
        return "\n".join(["bfd", " profile fast", *own, " exit", "exit", ""])

    def bfd_up(self, name, other):
        said = run("vtysh", "--vty_socket", self.folder(name), "-d", "bfdd", "-c", "show bfd peers json")
        return any(peer["peer"] == other and peer["status"] == "up" for peer in json.loads(said))

    def _daemon(self, name, program, conf):
        folder = self.folder(name)
        places = ["-f", self.write(name, f"{program}.conf", conf), "-i", f"{folder}/{program}.pid", "-P", "0"]
        places += ["-z", f"{folder}/zserv", "--vty_socket", folder]
        places += ["--bfdctl", f"{folder}/bfdd.sock"] if program == "bfdd" else []
        self.launch(name, f"{FRR}/{program}", *places, "--log", "stdout", "--log-level", "warnings")

    def start(self):
        for folder in ["/run/frr", *map(self.folder, self.wires.core.nodes)]:
            os.makedirs(folder, exist_ok=True)
            # The daemons give up being root once they are started.
            shutil.chown(folder, "frr", "frr")
        for name in self.wires.core.nodes:
            self._daemon(name, "zebra", self.zebra_conf())
        for name in self.wires.core.nodes:
            # One that does not find zebra tries again only ten seconds later.
            self._wait(f"{self.folder(name)}/zserv")
            if self.bfd_ms:
                self._daemon(name, "bfdd", self.bfdd_conf())
            self._daemon(name, "ospfd", self.ospfd_conf(name))

    def _wait(self, path):
        deadline = time.monotonic() + 30
        while not os.path.exists(path):
            if time.monotonic() > deadline:
                raise TimeoutError(f"zebra does not make {path}")
            self.check()
            time.sleep(0.002)


class Bird(Daemons):
    """One process per router: hellos every second, `tick 1`, the shortest of both that it takes."""

    rest = REST

    def __init__(self, wires, bfd_ms=None):
        super().__init__(wires, bfd_ms)

    @staticmethod
    def why_not():
        return None if shutil.which("bird") else "not installed"

    @staticmethod
    def label():
        return f"BIRD {version(['bird', '--version'])}"

    def conf(self, name):
        ms, end = self.bfd_ms, name in self.wires.core.ends
        times = f"min rx interval {ms} ms; min tx interval {ms} ms; idle tx interval {ms} ms; multiplier 3;"
        bfd = f'protocol bfd {{ interface "eth*" {{ {times} }}; }}' if ms else ""
        return f"""
            router id {self.wires.loopback(name)};
            protocol device {{ }}
            protocol kernel {{ merge paths on; ipv4 {{ import none; export all; }}; }}
            {bfd}
            protocol ospf v2 {{
                tick 1;
                ecmp on;
                stub router {"yes" if end else "no"};
                ipv4 {{ import all; export none; }};
                area 0 {{
                    interface "lo" {{ stub yes; }};
                    interface "eth*" {{ type ptp; hello 1; dead 3; retransmit 2; bfd {"yes" if ms else "no"}; }};
                }};
            }}
        """

    def start(self):
        for name in self.wires.core.nodes:
            folder, conf = self.folder(name), self.write(name, "bird.conf", self.conf(name))
            self.launch(name, "bird", "-f", "-c", conf, "-s", f"{folder}/bird.ctl", "-P", f"{folder}/bird.pid")

    def bfd_up(self, name, other):
        said = run("birdc", "-s", f"{self.folder(name)}/bird.ctl", "show bfd sessions")
        return any(line.split()[:1] == [other] and " Up " in line for line in said.splitlines())
