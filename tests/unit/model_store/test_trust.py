from __future__ import annotations

import re
from typing import Any

import pytest
from fastapi import Request
from tests import released_models
from tests.cosign import key_pair

from model_store.pages.render import render
from model_store.pages.trust import trust
from modelyard.store import ModelVersion, PipelineRun
from modelyard.supply_chain.key import read_public_keys

OURS, OTHERS = (key_pair()[1] for _ in range(2))


def fingerprint(key: str) -> str:
    return str(read_public_keys(key)[0])


def version(attached: dict[str, Any] | None) -> ModelVersion:
    run = PipelineRun("run", "test", "wine", "manual", "wine", {}, {}, {}, "ada", 0, released_models.START)
    return released_models.as_version(run, 1, image_digest="sha256:1", attached=attached)


def test_what_would_go_live_is_known_from_the_record_alone():
    signed = version({"signed_by": fingerprint(OURS)})
    told = trust(signed, (), None)
    assert (told.signed_by, told.accepted, told.hindrance) == (fingerprint(OURS), None, "")
    told = trust(signed, (), OTHERS + OURS)
    assert (told.accepted, told.hindrance) == (True, "")


def test_what_stands_against_it_is_said():
    told = trust(version({"signed_by": fingerprint(OURS)}), (), OTHERS)
    assert told.accepted is False
    assert told.hindrance == f"its signature is by {fingerprint(OURS)}, and one by {fingerprint(OTHERS)} is asked for"
    for unsigned in (version({"signed_by": None}), version(None)):
        told = trust(unsigned, (), OURS)
        assert (told.signed_by, told.accepted) == (None, False)
        assert told.hindrance == f"no signature of it is recorded, and one by {fingerprint(OURS)} is asked for"
    told = trust(version({"signed_by": fingerprint(OURS)}), (), "no key at all")
    assert (told.accepted, told.hindrance) == (False, "The verification key is no PEM file of a public key")


@pytest.mark.parametrize(
    ("recorded", "signed", "asked", "shown"),
    [
        (True, True, True, "by the key {} trusted"),
        (True, True, False, "by the key {} no verification key is set"),
        (True, False, True, "would be refused no signature of it is recorded"),
        # What is beside the image in its registry decides, and the record does not know it.
        (False, False, True, "may be refused no signature of it is recorded"),
    ],
)
def test_the_page_says_what_is_known_and_no_more(recorded: bool, signed: bool, asked: bool, shown: str):
    key = fingerprint(OURS) if signed else None
    beside = {"bill_of_materials": "sha256:2", "provenance": "sha256:3", "signed_by": key}
    known = version(beside if recorded else None)
    told = trust(known, (), OURS if asked else None)
    values: dict[str, Any] = {"name": "wine", "version": known, "run": None, "aliases": [], "config": {}}
    page = render(Request({"type": "http", "headers": []}), "version.html", **values, trust=told)
    text = " ".join(re.sub(r"<[^>]+>", " ", bytes(page.body).decode()).split())
    assert shown.format(fingerprint(OURS)) in text
