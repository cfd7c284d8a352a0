"""Namespaces that leave nothing behind.

What a peer makes is made inside `PRIVATE`: a process, mount and network namespace of its own. However it or the bench
ends, by itself, by an exception, ctrl-C or SIGKILL, the kernel ends its processes, and its network namespaces, whose names
are in a /run of its own, go with them.
"""

import contextlib
import ctypes
import os
import subprocess

PRIVATE = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
PRIVATE += ["--mount-proc", "--"]
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


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
