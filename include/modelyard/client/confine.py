"""``python -I -S confine.py PARENT COMMAND …``: becomes COMMAND, bound to its parent and closed off from it.

A model project's code is started this way, by whatever starts it. The command

- ends with the process PARENT, also when that is killed;
- has no capability, not even as root, and gains none by starting a privileged program: it can't look into processes
  that have some, or that are hidden (``modelyard.process.hide``).

A script of its own, because none of this is safe to do between ``fork`` and ``exec`` of a process with threads.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
import sys

_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def confine(parent: int) -> None:
    """Bind this process, and all it becomes and starts, as the module says.

    Raises:
        OSError: the kernel refuses.
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)  # it ended before this process could ask to be told
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if os.geteuid() == 0:
        _drop_capabilities()


def _drop_capabilities() -> None:
    # From the bounding set, which limits what root's programs start with, one by one until the kernel knows no more …
    capability = 0
    while _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    if ctypes.get_errno() not in (errno.EINVAL, errno.EPERM):  # EPERM: it has none to drop, as a container may want it
        raise OSError(ctypes.get_errno(), "capabilities cannot be dropped")
    # … and from what this process has, and hands on.
    header, none = struct.pack("Ii", _CAPABILITY_VERSION_3, 0), bytes(24)
    _check(_libc.capset(header, none))


def _check(result: int) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


if __name__ == "__main__":
    confine(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - the point of it
