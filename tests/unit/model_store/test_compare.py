from dataclasses import replace

from tests.released_models import version

from model_store.pages.compare import sections
from modelyard.store import Store


def test_versions_are_compared_value_by_value(store: Store):
    first = version(store, run_id=1)
    second = replace(
        first, version=2, metrics={"accuracy": 0.99, "recall": 0.5}, config={"model": {"C": 1.5}, "seed": 42}
    )
    compared = sections([first, second])
    assert [(row.name, row.cells, row.differs) for row in compared["Metrics"]] == [
        ("accuracy", ("0.97", "0.99"), True),
        ("loss", ("0.2", "–"), True),
        ("recall", ("–", "0.5"), True),
    ]
    assert [(row.name, row.differs) for row in compared["Configuration"]] == [("model.C", True), ("seed", False)]
    assert [row.name for row in compared["Data"]] == ["wine"]
    assert not any(row.differs for row in compared["Code"])
