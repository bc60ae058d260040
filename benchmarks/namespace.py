"""Commands that run in a network namespace of their own, so that nothing leaves this machine."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence

__all__ = ["INSIDE", "enter", "raise_loopback", "unshare"]

INSIDE = "SESSIONCORE_BENCH_INSIDE"
"""The environment variable that is set inside."""


def unshare() -> list[str] | None:
    """The command that enters a namespace, or None where that is not permitted."""
    program = shutil.which("unshare")
    for way in (("-n",), ("-r", "-n")) if program else ():
        command = [str(program), *way]
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    return None


def enter(module: str, arguments: Sequence[str]) -> int:
    """Run ``module`` again inside; returns its exit status, and 0 where that is not permitted."""
    command = unshare()
    if command is None:
        print("skipped: a network namespace is not permitted here (unshare -n)", file=sys.stderr)
        return 0
    command += [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, env=os.environ | {INSIDE: "1"}, check=False).returncode


def raise_loopback() -> None:
    """Switch the loopback interface on, which a new namespace has switched off."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        up = struct.pack("16sh14x", b"lo", 0x1 | 0x40)  # IFF_UP, IFF_RUNNING; netdevice(7)
        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS
