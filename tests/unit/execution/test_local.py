import asyncio
import io
from pathlib import Path

import pytest

from modelyard.execution import Command
from modelyard.execution.local import LocalStep
from modelyard.serving.access_log import AccessLog
from modelyard.serving.messages import Request, Response
from modelyard.store import StoreAddress


def noted() -> str:
    """Return the line by which a server notes a request."""
    stream = io.BytesIO()

    async def answer() -> None:
        log = AccessLog(stream, "3")
        log.write(Request("POST", "/predict", "", {}, b"{}", "a1"), Response(200, b"{}"), 0.001)
        log.close()

    asyncio.run(answer())
    return stream.getvalue().decode()


@pytest.mark.parametrize(
    "line",
    ['KeyError: "path"', '{"level": "warning", "path": "model.bin", "told": "retrained"}', "[" * 100_000, "3", "null"],
)
def test_of_an_image_beside_a_step_all_lines_are_told_but_its_requests(line: str, tmp_path: Path):
    lines: list[str] = []
    address = StoreAddress(mongo_uri="mongodb://unused", artifacts=tmp_path.as_uri(), registry=f"oci:{tmp_path}")
    step = LocalStep(Command("test_image", "run"), address, tmp_path, lines.append)
    step._relay("candidate", io.StringIO(f"{noted()}{line}\n{noted()}"))
    assert lines == [f"[candidate] {line}"]
