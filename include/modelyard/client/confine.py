"""``python -I -S confine.py PARENT COMMAND …``: becomes COMMAND, bound to its parent and closed off from it.

A model project's code is started this way, by whatever starts it. The command

- ends with the process PARENT, also when that is killed;
- can't look into other processes, not even as root, and gains no rights by starting a privileged program.

A script of its own, because none of this is safe to do between ``fork`` and ``exec`` of a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_CAP_SYS_PTRACE = 19


def confine(parent: int) -> None:
    """Bind this process, and all it becomes and starts, as the module says.

    Raises:
        OSError: the kernel refuses.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it ended before this process could ask to be told
    if os.geteuid() == 0:
        _prctl(_PR_CAPBSET_DROP, _CAP_SYS_PTRACE)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _prctl(option: int, argument: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}): {os.strerror(error)}")


if __name__ == "__main__":
    confine(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - the point of it
