"""`test_image`: the image that will be released answers as the model did at training, or it is not released."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

from modelyard.deployment.smoke import SmokeError, smoke_test
from modelyard.errors import GateFailed
from modelyard.images.interpreter import Interpreter
from modelyard.steps.context import StepContext
from modelyard.steps.results import Containerised, ImageTested, Prepared
from modelyard.store import ModelVersion
from modelyard.validation import critical, predictions
from modelyard.validation.production import Production
from modelyard.validation.scoring import ModelError

_ANSWER_SECONDS = 120


def run(context: StepContext) -> ImageTested:
    """Replay golden and critical predictions over HTTP against the image's own server, which runs beside this step.

    Raises:
        GateFailed: the server does not start, or an answer differs.
    """
    built, version = context.result(Containerised), context.version()
    address = context.beside["candidate"]
    try:
        Production(address, version.version).wait_until_ready()
        golden = _golden(context, version, built.image_digest, address)
    except (ModelError, SmokeError) as error:
        raise GateFailed(
            f"The image of {version.name}:{version.version} does not answer as the model did at training: {error}",
            "its server's own lines are above; what the model needs must be in the lock or in the project",
        ) from error
    own = Interpreter.of_this_machine().platform
    context.log(f"{golden} golden predictions answered as at training")
    lines = _critical(context, version, address)
    not_tested = [platform for platform in built.platforms if platform != own]
    if not_tested:
        context.log(f"Tested on {own}. Not tested, as nothing runs it here: the image for {', '.join(not_tested)}")
    return ImageTested(
        version=version.version,
        image_digest=built.image_digest,
        golden=golden,
        critical=lines,
        not_tested=not_tested,
    )


def _golden(context: StepContext, version: ModelVersion, image_digest: str, address: str) -> int:
    golden = context.store.artifacts.read_json(version.file("modelyard.json").digest)["golden"]
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=_ANSWER_SECONDS)
    smoke_test(connection, version.version, image_digest, golden)
    return len(golden["inputs"])


def _critical(context: StepContext, version: ModelVersion, address: str) -> int:
    name = context.result(Prepared).project["validation"]["critical"]
    if name is None:
        return 0
    lines = predictions.read(context.unpack_project(version.project_digest) / name, name)
    results = critical.replay(lines, Production(address, version.version).ask)
    gate = critical.gate(results, name)
    if not gate.passed:
        raise GateFailed(
            f"The image of {version.name}:{version.version} misses critical predictions: {gate.found}\n{gate.why}",
            "the model itself met them in 'validate': what serves it must differ",
        )
    context.log(f"{len(results)} critical predictions met")
    return len(results)
