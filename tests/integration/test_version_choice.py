from __future__ import annotations

import pytest
from tests.released_models import as_version, image_of, pipeline_run

from modelyard.errors import NotFound
from modelyard.store import Store
from modelyard.version_choice import chosen_version


def test_a_name_alone_is_its_newest_released_version_behind_any_number_of_candidates(store: Store) -> None:
    run = pipeline_run(store, "wine", "manual__1")
    with pytest.raises(NotFound, match="wine has no released version"):
        chosen_version(store, "wine")
    for run_id in range(1, 105):
        store.versions.register(as_version(run, run_id))
    for released in (1, 2):
        store.versions.set_image("wine", released, image_of(released))
    version, digest = chosen_version(store, "wine")
    assert (version.version, digest) == (2, image_of(2))
