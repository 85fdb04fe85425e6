"""The table of the benchmark, with the aim beside each figure that has one."""

from __future__ import annotations

from tests.benchmarks.peers.measuring import Figures
from tests.benchmarks.peers.results import Cell, Results
from tests.benchmarks.peers.servers import BARE, CONSTANT, HALF, HALVES, OURS, TENSORS, TWO

_OURS = frozenset({OURS, CONSTANT, TWO, HALF, HALVES, TENSORS, BARE})
# By model and way of asking: how many times the requests/s of the best peer.
_TIMES = {
    ("pipeline", Cell(1, 16), OURS): 30,
    ("pipeline", Cell(100, 16), TENSORS): 30,  # which is how the best peer is asked
    ("boosting", Cell(1, 16), OURS): 20,
    ("uncompiled", Cell(1, 16), OURS): 2.5,
    ("uncompiled", Cell(1, 64), OURS): 5,
}
_CEILING = 35  # percent of the constant answer's requests/s
_P99 = 5.0  # milliseconds at 16 connections
_ABOVE = 0.3  # milliseconds at one connection above the model's own predict
_WORKERS = 1.7  # two against one, where all can be busy
_ONE = {TWO: OURS, HALVES: HALF}  # what two are held against
_READY = {True: 0.5, False: 1.5}  # seconds, compiled or not
_MEGABYTES = {True: 90, False: 165}


def show(found: list[Results]) -> None:
    """Print everything."""
    print(f"\n{'':<54}{'minimum':>9} {'median':>9} {'maximum':>9}  {'p99 ms':>7} {'CPU ms':>7}  ours, and (the aim)")
    for results in found:
        for cell in results.cells:
            for name in results.asked(cell):
                line = f"{results.model}, {_counted(cell.rows, 'row')}, {_counted(cell.connections, 'connection')}"
                costs = f"{results.p99(name, cell).median:7.1f} {results.processor(name, cell).median:7.3f}"
                print(
                    f"{line:<34}{name:<20}{_three(results.rate(name, cell), 0)}  {costs}  {_said(results, name, cell)}"
                )
        if results.alone.values:
            print(f"{f'{results.model}, its own predict of a row, ms':<54}{_three(results.alone, 2)}")
        for name in results.servers:
            aim = f"  (at most {_READY[results.compiled]})" if name == OURS else ""
            print(f"{f'{results.model}, ready after, s':<34}{name:<20}{_three(results.ready(name), 2)}{aim}")
        for name in results.servers:
            aim = f"  (at most {_MEGABYTES[results.compiled]})" if name == OURS else ""
            print(f"{f'{results.model}, memory (PSS), MB':<34}{name:<20}{_three(results.memory(name), 0)}{aim}")
    for results in found:
        for what, why in results.left_out.items():
            print(f"\n{results.model}: {what} is left out: {why}")


def _said(results: Results, name: str, cell: Cell) -> str:
    if name in _ONE:
        times = results.rate(name, cell).median / results.rate(_ONE[name], cell).median
        busy = ", ".join(f"{share:.0%}" for share in results.loads(name, cell)[-1].busy)
        return f"{times:.2f} × one worker{f' (at least {_WORKERS})' if name == HALVES else ''}; busy: {busy}"
    return "; ".join(_figures(results, name, cell)) if name in (OURS, TENSORS) else ""


def _figures(results: Results, name: str, cell: Cell) -> list[str]:
    rate, said = results.rate(name, cell), []
    others = [other for other in results.asked(cell) if other not in _OURS]
    if others:
        best = max(others, key=lambda other: results.rate(other, cell).median)
        aim = _TIMES.get((results.model, cell, name))
        times = rate.median / results.rate(best, cell).median
        least = min(results.processor(other, cell).median for other in others)
        cheaper = least / results.processor(name, cell).median
        aimed = f" (at least {aim})" if aim else ""
        said.append(f"{times:.1f} × {best}{aimed}, by CPU {cheaper:.1f} × the best")
    if CONSTANT in results.asked(cell) and name == OURS and results.compiled:
        share = rate.median / results.rate(CONSTANT, cell).median
        cost = results.processor(CONSTANT, cell).median / results.processor(OURS, cell).median
        said.append(f"{share:.0%} of the ceiling (at least {_CEILING} %), by CPU {cost:.0%}")
    if results.compiled and cell == Cell(1, 16):
        said.append(f"p99 {results.p99(OURS, cell).median:.1f} ms (under {_P99:g})")
    if results.alone.values and cell == Cell(1, 1):
        above, bare = (_above(results.p50(each, cell), results.alone) for each in (name, BARE))
        asked = f"(at most {_ABOVE})" if name == TENSORS else "with probabilities"
        said.append(f"{above:.2f} ms above its own predict {asked}; a bare socket {bare:.2f}")
    return said


def _above(figures: Figures, floor: Figures) -> float:
    """Return the median of what the rounds differ by: a machine is not as fast in one round as in another."""
    return Figures([value - low for value, low in zip(figures.values, floor.values, strict=True)]).median


def _three(figures: Figures, digits: int) -> str:
    values = figures.values or [float("nan")]
    return " ".join(f"{value:9,.{digits}f}" for value in (min(values), figures.median, max(values)))


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
