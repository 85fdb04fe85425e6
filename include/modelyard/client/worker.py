"""``python -P -m modelyard.client.worker MODEL_DIR --fd N``: loads a model and answers for it on a socket.

The only place where a model file is loaded. Each message is a request (``loaded.LoadedModel.answer``), answered in
order by ``{"outputs": …}``, or by ``{"error": "…"}`` when the model can't answer these rows.
"""

from __future__ import annotations

import argparse
import gc
import socket
import traceback
from pathlib import Path

from modelyard.client import frames
from modelyard.client.loaded import LoadedModel


def serve(model: LoadedModel, connection: socket.socket) -> None:
    """Answer until the other side ends the connection."""
    while (request := frames.receive(connection)) is not None:
        try:
            answer = frames.packed({"outputs": model.answer(request)})
        except Exception as error:  # noqa: BLE001 - the model's own code; the next rows may suit it
            traceback.print_exc()
            answer = frames.packed({"error": f"{type(error).__name__}: {error}"})
        connection.sendall(answer)


def main() -> None:
    """Load the model, then serve; ends with a trace and status 1 when it cannot be loaded."""
    parser = argparse.ArgumentParser(prog="modelyard.client.worker")
    parser.add_argument("model", type=Path)
    parser.add_argument("--fd", type=int, required=True)
    arguments = parser.parse_args()
    with socket.socket(fileno=arguments.fd) as connection:
        model = LoadedModel.load(arguments.model)
        gc.freeze()  # a library's hundred thousands of objects stay: none is looked at again while somebody waits
        serve(model, connection)


if __name__ == "__main__":
    main()
