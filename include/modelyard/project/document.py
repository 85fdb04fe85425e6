"""A YAML file with the line of each of its keys and values, so that a mistake can be shown where it is."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from modelyard.errors import Problem, ProjectError

Path_ = tuple[str | int, ...]


@dataclass
class Document:
    """One YAML file: its plain value, and where each part of it stands.

    Attributes:
        name: the file's name, as problems show it.
        value: what the file holds, in plain types.
        lines: 1-based line by path (``("data", "houses", "uri")``, list indices as integers).
        problems: keys given twice (YAML would silently take the last one).
    """

    name: str
    value: Any
    lines: dict[Path_, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: Sequence[str | int]) -> int:
        """Return the line of ``path``, or of the nearest part of it that the file has."""
        known = self.known(path)
        return self.lines.get(known, 1)

    def known(self, path: Sequence[str | int]) -> Path_:
        """Return ``path`` without the elements that name nothing in the file.

        A validator's path may hold such elements in its middle (which kind of a value it tried) and at its end
        (the key that is missing).
        """
        found: Path_ = ()
        for element in path:
            if (*found, element) in self.lines:
                found = (*found, element)
        return found

    def problem(self, path: Sequence[str | int], message: str, remedy: str) -> Problem:
        """Return a problem at ``path``, which may end with a key that is missing."""
        return Problem(self.name, self.line(path), ".".join(str(element) for element in path), message, remedy)


def read_document(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        ProjectError: there is no such file, or it is no YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        message, remedy = f"There is none in {path.parent}.", "Write a project with: modelyard new NAME"
        raise ProjectError([Problem(path.name, None, "", message, remedy)]) from error
    except (OSError, UnicodeDecodeError) as error:
        message, remedy = f"It cannot be read: {error}", "Make it a readable file in UTF-8."
        raise ProjectError([Problem(path.name, None, "", message, remedy)]) from error
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        document = Document(path.name, None if node is None else loader.construct_document(node))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        message = f"This is no YAML: {getattr(error, 'problem', None) or error}"
        raise ProjectError([Problem(path.name, line, "", message, "Check indentation, colons and quotes.")]) from error
    finally:
        loader.dispose()
    if node is not None:
        _locate(node, (), document)
    return document


def _locate(node: yaml.Node, path: Path_, document: Document) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: dict[Hashable, int] = {}
        for key_node, value_node in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            if key in seen:
                message = f"is given twice, here and in line {seen[key]}."
                document.problems.append(
                    Problem(document.name, line, ".".join(map(str, (*path, key))), message, "Keep one of the two.")
                )
            seen[key] = line
            document.lines[(*path, key)] = line
            _locate(value_node, (*path, key), document)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            document.lines[(*path, index)] = item.start_mark.line + 1
            _locate(item, (*path, index), document)
