"""What Linux offers to keep processes apart: dying with the parent, and closing a process to its neighbors.

Standard library only; every function is safe to call between ``fork`` and ``exec``.
"""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4

# Loaded once: dlopen is not safe between fork and exec in a process with threads.
_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, argument, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}): {os.strerror(error)}")


def die_with_parent(parent: int) -> None:
    """Have the kernel SIGKILL this process when ``parent`` ends; ends at once if it has ended already.

    The kernel watches the *thread* that started this process: start children from one that lives as long as the parent.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def hide() -> None:
    """Close memory and environment of this process to others of the same user (prctl(2), PR_SET_DUMPABLE)."""
    _prctl(_PR_SET_DUMPABLE, 0)
