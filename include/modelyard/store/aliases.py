"""Aliases: names that point to one version of a model, and who moved them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

from modelyard.errors import Conflict, Superseded
from modelyard.store.codec import from_document, now
from modelyard.store.records import Alias, AliasMove

if TYPE_CHECKING:
    from modelyard.store.mongo import Database
    from modelyard.store.versions import Versions

_MOVE_ATTEMPTS = 100


class Aliases:
    """Aliases by (model, alias). Each is one document with its history, so that a move is one atomic write."""

    def __init__(self, database: Database, versions: Versions) -> None:
        self._aliases = database.collection("aliases", indexes=[[("model", 1)]])
        self._versions = versions

    def get(self, model: str, alias: str) -> Alias | None:
        """Return an alias with its history, oldest move first; None when it was never moved."""
        document = self._aliases.get(_key(model, alias))
        return None if document is None else from_document(Alias, document)

    def of(self, model: str) -> list[Alias]:
        """Return every alias of a model, in alphabetical order."""
        return [from_document(Alias, document) for document in self._aliases.find({"model": model}, [("alias", 1)])]

    def move(
        self,
        model: str,
        alias: str,
        to: int | None,
        by: str,
        why: str,
        expected: int | Literal["any"] | None = "any",
        generation: int | None = None,
    ) -> Alias:
        """Point an alias to another version, at once for everybody, and keep who did it and why.

        Where it points there already, nothing is written: a move that is tried again is one move.

        Args:
            model: the model's name.
            alias: ``production``, ``canary``, any.
            to: the version; None takes the alias away from all, its history stays.
            by: who moves it.
            why: what people read later.
            expected: the version it must point to now (None: to none); ``any`` leaves that open.
            generation: of the deployment that moves it; None for a move that is no deployment's.

        Raises:
            NotFound: there is no such version.
            Conflict: it points to another version than expected.
            Superseded: a deployment of a higher generation has moved it.
        """
        if to is not None:
            self._versions.get(model, to)
        for _ in range(_MOVE_ATTEMPTS):
            kept = self.get(model, alias)
            current = None if kept is None else kept.version
            newest = None if kept is None else kept.generation
            if generation is not None and newest is not None and generation < newest:
                raise Superseded(f"Alias '{alias}' of '{model}' follows a newer deployment, of version {current}")
            reached = newest if generation is None else generation
            if kept is not None and current == to and newest == reached:
                return kept
            if current != to and expected not in {"any", current}:
                raise Conflict(
                    f"Alias '{alias}' of '{model}' points to {_name(current)}, not to {_name(expected)} as expected",
                    "somebody moved it meanwhile: look at its history, then decide again",
                )
            move = AliasMove(at=now(), by=by, why=why, from_version=current, to_version=to)
            moves = [] if kept is not None and current == to else [move]
            if self._write(model, alias, kept, moves, reached):
                return Alias(model, alias, to, (*(kept.history if kept else ()), *moves), reached)
        raise Conflict(f"Alias '{alias}' of '{model}' is moved by others again and again", "see who moves it, and why")

    def _write(
        self, model: str, alias: str, kept: Alias | None, moves: list[AliasMove], generation: int | None
    ) -> bool:
        """Write a move, and the generation that is reached even without one; False when somebody else came before."""
        key, entries = _key(model, alias), [asdict(move) for move in moves]
        if kept is None:
            document = {"_id": key, "model": model, "alias": alias, "version": moves[0].to_version}
            return self._aliases.insert(document | {"moves": 1, "history": entries, "generation": generation})
        version = moves[0].to_version if moves else kept.version
        return self._aliases.update(
            # Where no deployment has moved it, there may be no generation at all: None matches that too.
            {"_id": key, "moves": len(kept.history), "generation": kept.generation},
            {
                "$set": {"version": version, "generation": generation},
                "$inc": {"moves": len(moves)},
                "$push": {"history": {"$each": entries}},
            },
        )


def _name(version: int | str | None) -> str:
    return "no version" if version is None else f"version {version}"


def _key(model: str, alias: str) -> str:
    return f"{model}:{alias}"
