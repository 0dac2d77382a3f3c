# SPDX-License-Identifier: Apache-2.0
"""Runs the program as the chart's container does: in a root directory that is read-only and has nothing but the binary, the host's trees, and the
/proc and /sys that every container runtime mounts (here without control groups); with no capabilities but these. The mounts go with the process.

Arguments: an empty directory, the binary, capabilities as Kubernetes spells them (a comma list), then the program's."""

import ctypes
import os
import shutil
import sys
from pathlib import Path

CLONE_NEWNS = 0x20000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x40000
PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 23, 24, 1, 38
NUMBERS = {"DAC_READ_SEARCH": 2, "NET_ADMIN": 12, "SYS_PTRACE": 19, "SYS_ADMIN": 21, "PERFMON": 38, "BPF": 39}

libc = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    result = getattr(libc, name)(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{name}{arguments}: {os.strerror(ctypes.get_errno())}")
    return result


def bind(source, target, flags=0):
    target.mkdir(parents=True, exist_ok=True)
    call("mount", os.fsencode(source), os.fsencode(target), None, MS_BIND | flags, None)


def read_only(target):
    call("mount", None, os.fsencode(target), None, MS_BIND | MS_REMOUNT | MS_RDONLY, None)


root, binary, capabilities = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split(",")
parent = os.getppid()
call("prctl", PR_SET_PDEATHSIG, 9, 0, 0, 0)
if os.getppid() != parent:
    sys.exit("whoever started this has gone")
call("unshare", CLONE_NEWNS)
call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)
shutil.copy(binary, root / "flowgauge")
for name in ("proc", "sys", "root"):
    (root / "host" / name).mkdir(parents=True)
bind(root, root)
bind("/proc", root / "proc")
bind("/sys", root / "sys")
bind("/proc", root / "host/proc", MS_REC)
bind("/sys", root / "host/sys", MS_REC)
bind("/", root / "host/root")
for place in ("proc", "sys", "host/proc", "host/sys", "host/root", "."):
    read_only(root / place)
keep = {NUMBERS[name] for name in capabilities}
number = 0
while libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0:
    if number not in keep:
        call("prctl", PR_CAPBSET_DROP, number, 0, 0, 0)
    number += 1
os.chroot(root)
os.chdir("/")
# The bounding set counts from here on.
call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
os.execve("/flowgauge", ["/flowgauge", *sys.argv[4:]], {"NODE_NAME": "node-a"})
