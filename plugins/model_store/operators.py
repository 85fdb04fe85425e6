"""Operators for DAGs of your own: register a run as a version, move an alias, fetch a version's model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import AssetAlias, BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from model_store.hook import ModelStoreHook
from model_store.run import task_failure, version_event, versions_asset
from modelyard.errors import ModelyardError, NotFound
from modelyard.provider_info import CONNECTION_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import Context

    from modelyard.store import ModelVersion, Store

# Whose version it is, is known only when the task has run.
_VERSIONS = AssetAlias("modelyard-versions")


class _StoreOperator(BaseOperator):
    """Opens the model store for its task; the library's errors end the task, for good where a retry can't help."""

    def __init__(self, *, model_store_conn_id: str = CONNECTION_ID, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_store_conn_id = model_store_conn_id

    @contextmanager
    def _store(self) -> Iterator[Store]:
        try:
            with ModelStoreHook(self.model_store_conn_id) as store:
                yield store
        except ModelyardError as error:
            raise task_failure(error) from error


class PromoteVersionOperator(_StoreOperator):
    """Moves an alias of a model to a version, and returns that version.

    For aliases that are yours: ``champion``, ``candidate``, ``reviewed``. The alias of an environment follows what is
    deployed there, so it is refused here: release the version by the model's own DAG, or roll back.

    Args:
        model: the model's name. Templated.
        alias: the alias to move; made when it's not there. Templated.
        version: the version it shall point to. Templated.
        why: kept in the alias's history. Templated.
        expected: refuse when it points to another version than this one; None leaves that open. Templated.
    """

    template_fields: Sequence[str] = ("model", "alias", "version", "why", "expected")

    def __init__(
        self, *, model: str, alias: str, version: int | str, why: str, expected: int | str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.alias = alias
        self.version = version
        self.why = why
        self.expected = expected

    def execute(self, context: Context) -> int:
        """Move the alias; doing it twice is one move."""
        to = _number(self.version)
        with self._store() as store:
            live = store.deployments.live(self.model, self.alias)
            if live is not None or self.alias in _environments(store, store.versions.get(self.model, to)):
                raise AirflowFailException(
                    f"'{self.alias}' is an environment of '{self.model}': its alias says what is live there\n"
                    f"  → release version {to} by the DAG '{self.model}', or roll back by 'modelyard-rollback'"
                )
            store.aliases.move(
                self.model,
                self.alias,
                to=to,
                by=_person(context),
                why=self.why,
                expected="any" if self.expected is None else _number(self.expected),
            )
        return to


class RegisterVersionOperator(_StoreOperator):
    """Registers a finished Sacred run, and the model it left, as a version, and returns the version's number.

    For trainings that are no Modelyard pipeline, but record into the same store with Sacred's MongoObserver. The
    version is a candidate: the model's own DAG releases it by the Param ``version``. Each success is an event of the
    asset ``modelyard://MODEL/versions``.

    Args:
        run_id: the run's number in the store. Templated.
        folder: the model directory that ``modelyard.log_model`` wrote, on this worker. Templated.
        project: the folder of the code that trained it, with its model.yaml, on this worker. Templated.
    """

    template_fields: Sequence[str] = ("run_id", "folder", "project")

    def __init__(self, *, run_id: int | str, folder: str, project: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run_id = run_id
        self.folder = folder
        self.project = project
        self.add_outlets([_VERSIONS])

    def execute(self, context: Context) -> int:
        """Register the run; doing it twice gives the same version."""
        from model_store.register import register_run

        with self._store() as store:
            by = _person(context)
            made = register_run(store, _number(self.run_id), Path(self.folder), Path(self.project), by)
        context["outlet_events"][_VERSIONS].add(versions_asset(made.name), extra=version_event(made))
        self.log.info("Sacred run %s is %s version %s", self.run_id, made.name, made.version)
        return made.version


class FetchVersionOperator(_StoreOperator):
    """Downloads a version's model files into a folder of the worker and returns the version's number.

    A model file is code: load it only in a process that may run it, never in Airflow's own.

    Args:
        model: the model's name. Templated.
        version: its number, or an alias such as ``production``. Templated.
        folder: made when it's not there; files that are there and have the right content are not fetched again.
            Templated.
    """

    template_fields: Sequence[str] = ("model", "version", "folder")

    def __init__(self, *, model: str, version: int | str, folder: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.version = version
        self.folder = folder

    def execute(self, context: Context) -> int:  # noqa: ARG002
        """Fetch the files; each is verified against its digest before it gets its name."""
        with self._store() as store:
            found = version_of(store, self.model, self.version)
            store.artifacts.fetch_tree(found.model, Path(self.folder))
        self.log.info("%s version %s: %s files in %s", self.model, found.version, len(found.model), self.folder)
        return found.version


def version_of(store: Store, model: str, reference: int | str) -> ModelVersion:
    """Return the version that a number or an alias names.

    Raises:
        NotFound: there is none.
    """
    if isinstance(reference, int) or reference.isdecimal():
        return store.versions.get(model, int(reference))
    alias = store.aliases.get(model, reference)
    if alias is None or alias.version is None:
        raise NotFound(f"No version of '{model}' has the alias '{reference}'", "give a version's number, or an alias")
    return store.versions.get(model, alias.version)


def _environments(store: Store, version: ModelVersion) -> set[str]:
    """Return where a version's own project may be deployed to, whether anything was yet or not."""
    from modelyard.project import load
    from modelyard.sources import unpack_tree

    with tempfile.TemporaryDirectory(prefix="modelyard-promote-") as folder:
        with store.artifacts.open(version.project_digest) as tree:
            unpack_tree(tree, Path(folder))
            tree.read()  # its digest is checked at its end
        return set(load(Path(folder)).deployment.environments)


def _person(context: Context) -> str:
    """Return who started the run, or the name of the DAG that runs by itself."""
    dag_run = context["dag_run"]
    return dag_run.triggering_user_name or dag_run.dag_id


def _number(text: int | str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise AirflowFailException(f"'{text}' is no number") from error
