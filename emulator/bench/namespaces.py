"""Namespaces that leave nothing behind.

What a peer makes is made inside `PRIVATE`: a process, mount and network namespace of its own. However it or the bench
ends, by itself, by an exception, ctrl-C or SIGKILL, the kernel ends its processes, and its network namespaces, whose names
are in a /run of its own, go with them.
"""

import contextlib
import ctypes
import os
import subprocess
import time

PRIVATE = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
PRIVATE += ["--mount-proc", "--"]
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


# A namespace like those that are being cleared away, seen to go by the end of a veth pair that goes with it. The kernel
# clears away in order.
LAST = """
mount -t tmpfs private /run
ip netns add last && ip link add here type veth peer name there netns last && ip netns del last
for _ in $(seq 1500); do ip link show here >/dev/null 2>&1 || exit 0; sleep 0.02; done
exit 1
"""


def cleared():
    """Waits until the kernel has cleared away namespaces that were left before: it does so late and for long, and keeps
    those waiting who make new ones. To be called before what is measured begins."""
    if os.geteuid() == 0:
        time.sleep(0.2)
        subprocess.run([*PRIVATE, "sh", "-c", LAST], check=True)


def settle_in():
    """To be called first inside: what is written into these folders is seen and kept by nobody else."""
    for folder in ("/run", "/var/tmp"):
        subprocess.run(["mount", "-t", "tmpfs", "private", folder], check=True)


def _setns(file):
    if libc.setns(file, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def within(name):
    """This thread is in a named network namespace: sockets and processes made here belong to it and stay in it."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(there)
        yield
    finally:
        _setns(home)
        os.close(home)
        os.close(there)
