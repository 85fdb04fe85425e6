"""Garbage collection among what the pipeline itself leaves."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.pipeline.tiny import assert_serves
from tests.yard import Yard, change

from modelyard.garbage.collect import Collection, collect
from modelyard.images import open_images
from modelyard.images.image import validate
from modelyard.store.codec import now


def collected(yard: Yard, days: int) -> Collection:
    with yard.open() as store:
        return collect(
            store,
            open_images(yard.address, yard.home),
            yard.home,
            patience=timedelta(days=7),
            delete=True,
            log=print,
            clock=lambda: now() + timedelta(days=days),
        )


def test_released_versions_stay_whole_and_what_a_failed_run_left_goes(yard: Yard, tiny: Path):
    assert yard.run(tiny) == 0
    assert yard.run(tiny, config__threshold=0.6) == 0
    change(yard, tiny, "predict.py", lambda text: text.replace("row[", "no_such_row["))
    assert yard.run(tiny) != 0
    collected(yard, days=10)
    done = collected(yard, days=20)
    kinds = {row.kind: row.ripe for row in done.rows}
    assert kinds["images of runs that have ended"] >= 2
    with yard.open() as store:
        images = open_images(yard.address, yard.home)
        for number in (1, 2):
            version = store.versions.get("tiny", number)
            assert version.image_digest is not None
            validate(images.pull("tiny", version.image_digest))
            model, data = (file.digest for file in version.model), (item.digest for item in version.data)
            for digest in (version.project_digest, *model, *data):
                store.artifacts.read(digest)
            assert version.report is not None
            store.artifacts.read(version.report["html"])
    assert_serves(yard, 2)
    assert yard.run(tiny, version=1) == 0  # by what is left, all of it can be released again
    assert_serves(yard, 1)
