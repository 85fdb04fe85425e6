from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.store import Alias, AliasMove, StepRecord
from modelyard.store.codec import from_document, now, to_document

TIME = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(), json_values))
def test_any_json_survives(result: dict[str, object]):
    record = StepRecord("run", "train", "done", 1, 1, 0, now(), now(), result=result)
    assert from_document(StepRecord, to_document(record)) == record


def test_a_document_from_another_version_of_modelyard_is_read():
    document = to_document(Alias("wine", "production", 1, (AliasMove(now(), "anna", "first", None, 1),)))
    assert from_document(Alias, document | {"_id": "x", "later": 1}).history[0].by == "anna"
    del document["history"]
    assert from_document(Alias, document) == Alias("wine", "production", 1)


def test_times_are_kept_to_the_millisecond():
    record = StepRecord("run", "train", "running", 1, 1, 0, TIME, TIME)
    assert from_document(StepRecord, to_document(record)).heartbeat == TIME.replace(microsecond=678_000)
    assert now().microsecond % 1000 == 0
