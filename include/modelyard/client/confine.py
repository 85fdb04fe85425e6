"""``python -I -S confine.py PARENT [HIDDEN …] -- COMMAND …``: becomes COMMAND, bound to its parent and closed off.

A model project's code is started this way, by whatever starts it. The command

- ends with the process PARENT, also when that is killed, and takes its interruption, even where it was started in the
  background of a shell, which makes its programs ignore one;
- has no capability, not even as root, and gains none by starting a privileged program: it can't look into processes
  that have some, or that are hidden (``modelyard.process.hide``);
- can't read a file that is, or is below, a path HIDDEN, nor look into any process but itself and those it starts
  (their memory, environment, open files), where the kernel has Landlock, Linux 5.19 or newer. Elsewhere it is started
  all the same, and one line on standard error says what it can read.

Variables that are meant for the command alone come with ``FOR_THE_COMMAND`` before their names, which is taken away at
the very end: a library or a path that one of them names is loaded by nothing that is not closed off yet.

A script of its own, because none of this is safe to do between ``fork`` and ``exec`` of a process with threads.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import stat
import struct
import sys
from collections.abc import Mapping, Sequence

FOR_THE_COMMAND = "MODELYARD_PROJECT_"

_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522

# landlock(7); the numbers are the same on every architecture that Python has wheels for.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = map(ctypes.c_long, (444, 445, 446))
_WHICH_VERSION = 1
_PATH_BENEATH = 1
_READ_FILE, _REFER = 1 << 2, 1 << 13
# The first version forbids every rename from one folder to another: no training would survive that.
_LEAST_VERSION = 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class CannotHideError(Exception):
    """Nothing can be hidden on this machine; the message says why."""


def confine(parent: int) -> None:
    """Bind this process, and all it becomes and starts, to its parent, and take its capabilities.

    Raises:
        OSError: the kernel refuses.
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)  # it ended before this process could ask to be told
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if os.geteuid() == 0:
        _drop_capabilities()


def hide(paths: Sequence[str]) -> None:
    """Close files and folders, and all other processes, to this process and all it becomes and starts.

    After ``confine``. The kernel can only be told what stays open, and knows it by folder: all that lies beside the way
    from the root down to these paths. What is put later directly into a folder on that way can be written and not read.

    Args:
        paths: absolute; one that does not exist is hidden once it does.

    Raises:
        CannotHideError: the kernel has no Landlock, or a folder on the way can't be listed.
        OSError: the kernel refuses.
    """
    version = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _WHICH_VERSION)
    if version < _LEAST_VERSION:
        if version < 0 and ctypes.get_errno() not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            _check(version)
        raise CannotHideError("this kernel has no Landlock, as Linux from 5.19 on has where it is switched on")
    hidden = {os.path.realpath(path) for path in paths}
    on_the_way = set()
    for path in hidden:
        while path != "/":
            path = os.path.dirname(path)  # noqa: PTH120 - as in all of this script, pathlib costs its start
            on_the_way.add(path)
    handled = struct.pack("=Q", _READ_FILE | _REFER)
    ruleset = _check(_libc.syscall(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0))
    _allow_all_but(ruleset, "/", hidden, on_the_way)
    _check(_libc.syscall(_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _allow_all_but(ruleset: int, path: str, hidden: set[str], on_the_way: set[str]) -> None:
    if path in hidden:
        return
    if path not in on_the_way:
        _allow(ruleset, path)
        return
    try:
        names = os.listdir(path)  # noqa: PTH208
    except PermissionError as error:
        if os.access(path, os.X_OK):
            raise CannotHideError(f"{path} can't be listed") from error
        return  # nothing below it can be read in any case
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        _allow_all_but(ruleset, os.path.join(path, name), hidden, on_the_way)  # noqa: PTH118


def _allow(ruleset: int, path: str) -> None:
    try:
        file = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # it has vanished, or can't be read by this process in any case
    try:
        mode = os.fstat(file).st_mode
        if stat.S_ISLNK(mode):
            return  # what it leads to is allowed at its own place, or hidden
        allowed = _READ_FILE | _REFER if stat.S_ISDIR(mode) else _READ_FILE
        _check(_libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", allowed, file), 0))
    finally:
        os.close(file)


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


def _check(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the command's variables: its own under their own names, and none that its starter has set is changed."""
    own = {name: value for name, value in environment.items() if name.startswith(FOR_THE_COMMAND)}
    others = {name: value for name, value in environment.items() if name not in own}
    return {name.removeprefix(FOR_THE_COMMAND): value for name, value in own.items()} | others


def main() -> None:
    """Become the command that the arguments name."""
    end = sys.argv.index("--")
    parent, hidden, command = int(sys.argv[1]), sys.argv[2:end], sys.argv[end + 1 :]
    confine(parent)
    try:
        hide(hidden)
    except CannotHideError as why:
        if hidden:
            print(f"modelyard: {why}: the model's code could read {', '.join(hidden)}", file=sys.stderr, flush=True)
    try:
        os.execve(command[0], command, variables(os.environ))  # noqa: S606 - the point of it
    except OSError as error:
        sys.exit(f"modelyard: {command[0]} cannot be started: {error.strerror}")


if __name__ == "__main__":
    main()
