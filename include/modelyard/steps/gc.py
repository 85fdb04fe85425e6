"""`gc`: garbage collection, as a task of Airflow."""

from __future__ import annotations

from modelyard.garbage.collect import collect
from modelyard.garbage.patience import patience
from modelyard.garbage.report import lines
from modelyard.images import open_images
from modelyard.steps.context import StepContext
from modelyard.steps.results import Collected


def run(context: StepContext) -> Collected:
    """Collect as the run's Params say: ``delete`` and ``older_than``.

    Raises:
        RequestError: ``older_than`` is no time; else what ``collect`` raises.
    """
    params, store = context.run.params, context.store
    collection = collect(
        store,
        open_images(store.address, context.home),  # the context's own pardon what they find
        context.home,
        patience=patience(params["older_than"]),
        delete=params["delete"],
        log=context.log,
    )
    for line in lines(collection, params["older_than"]):
        context.log(line)
    total = collection.total
    return Collected(collection.deleted, total.ripe, total.ripe_bytes, total.later, total.later_bytes)
