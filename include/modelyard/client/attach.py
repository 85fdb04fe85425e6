"""Gives every Sacred run of this process its relaying observer, whenever and however the experiment was made."""

from __future__ import annotations

import functools
import importlib.machinery
import os
import sys

TYPE_CHECKING = False  # as type checkers know it: typing takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

_MODULE = "sacred.experiment"


def install() -> None:
    """Arrange that runs are recorded, now if Sacred is imported already, else as soon as it is; twice is once."""
    module = sys.modules.get(_MODULE)
    if module is not None:
        _patch(module)
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _patch(module: ModuleType) -> None:
    create_run = module.Experiment._create_run
    if hasattr(create_run, "recorded_by_modelyard"):
        return

    @functools.wraps(create_run)
    def recorded(*arguments: Any, **named: Any) -> Any:
        # Here, so that importing Modelyard costs next to nothing where nothing is run.
        from modelyard.client import laptop, relay
        from modelyard.client.observer import RelayObserver

        run = create_run(*arguments, **named)
        if not run.unobserved:
            # Started now, not when the run starts: Sacred has taken standard output away by then.
            path = os.environ.get(relay.VARIABLE) or laptop.recorder(arguments[0].base_dir)
            connect = functools.partial(relay.Relay.connect, path)
            # A list of its own: Sacred passes the experiment's, which is every later run's too.
            run.observers = [*run.observers, RelayObserver(connect)]
            if "ipykernel" in sys.modules and run.capture_mode is None:
                run.capture_mode = "sys"  # a kernel's output does not pass the file descriptors that Sacred watches
        return run

    recorded.recorded_by_modelyard = True  # type: ignore[attr-defined]
    module.Experiment._create_run = recorded


class _Finder:
    """Waits for the import of Sacred, which costs too much to be imported for nothing."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_patch(module: ModuleType) -> None:
            execute(module)
            _patch(module)

        spec.loader.exec_module = execute_and_patch  # type: ignore[method-assign]
        return spec
