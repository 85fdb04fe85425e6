import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from tests.released_models import version
from tests.unit.model_store.contexts import context
from tests.unit.model_store.locks import lock, write

from model_store.projects import LockedProject, find
from model_store.run import Ended, PipelineStep, deployments_asset, pipeline_run, versions_asset
from modelyard.errors import GateFailed, ModelyardError, RequestError, Unavailable
from modelyard.execution import ProjectImage
from modelyard.steps import plan
from modelyard.store import Claim, PipelineRun, Store
from modelyard.supply_chain import SigningKey


@pytest.fixture
def locked(tmp_path: Path) -> LockedProject:
    (found,) = find([write(tmp_path / "wine", lock())])
    assert isinstance(found, LockedProject)
    return found


def step(locked: LockedProject, name: str) -> PipelineStep:
    return PipelineStep(name, lambda _: locked, "model_store_default")


def leave(store: Store, run: PipelineRun, name: str, result: dict[str, Any] | ModelyardError) -> None:
    """What the step's process writes into its record."""
    claim = store.steps.claim(run.id, name, try_number=1, clear_number=0)
    assert isinstance(claim, Claim)
    if isinstance(result, ModelyardError):
        claim.fail(result)
    else:
        claim.finish(result)


def test_the_run_is_written_down_before_its_first_step(store: Store, locked: LockedProject):
    run, command = step(locked, "train").begin(context(), store)
    assert store.pipelines.get(run.id) == run
    assert (run.model, run.started_by, run.project) == ("wine", "ada", locked.source)
    assert run.settings["environment"] == "production"
    assert (command.step, command.pipeline_run, command.try_number) == ("train", run.id, 1)
    again, _ = step(locked, "validate").begin(context(clear_number=2), store)
    assert again.id == run.id
    assert again.clear_number == 2


def test_steps_with_the_projects_code_run_in_the_image_that_prepare_made(store: Store, locked: LockedProject):
    run, prepare = step(locked, "prepare").begin(context(), store)
    assert prepare.image is None
    assert step(locked, "train").begin(context(), store)[1].image is None
    image = "registry.example.com/environment-image@sha256:ab"
    leave(store, run, "prepare", {"environment_image": image, "environment": {}})
    commands = {one.name: step(locked, one.name).begin(context(), store)[1] for one in plan.STEPS}
    assert {name for name, command in commands.items() if command.image is not None} == {"train", "validate"}
    assert (commands["train"].image, commands["train"].project) == (image, None)


def test_a_projects_own_image_runs_its_code_beside_the_step(store: Store, locked: LockedProject):
    run, _ = step(locked, "prepare").begin(context(), store)
    environment = {"reference": "registry.example.com/project-image@sha256:ab", "executable": "/usr/bin/python3.11"}
    leave(store, run, "prepare", {"environment_image": None, "environment": environment})
    commands = {one.name: step(locked, one.name).begin(context(), store)[1] for one in plan.STEPS}
    assert not [name for name, command in commands.items() if command.image is not None]
    assert {
        name: command.project for name, command in commands.items() if command.project is not None
    } == dict.fromkeys(["train", "validate"], ProjectImage(environment["reference"], environment["executable"]))


def test_a_run_is_written_down_with_what_was_asked_of_it_and_not_with_the_forms_defaults(
    store: Store, locked: LockedProject
):
    form = {"data.wine": "data/wine.csv", "config.model.C": 1.0, "approve": None, "ref": "v1", "reason": None}
    run, _ = step(locked, "prepare").begin(context(form), store)
    assert run.params == {"environment": "production", "version": None, "release": True, "ref": "v1", "reason": None}
    changed = form | {"data.wine": "s3://wines/2026.csv", "config.model.C": 2.0, "approve": True, "config.gone": None}
    run, _ = step(locked, "prepare").begin(context(changed, run_id="manual__2"), store)
    assert changed.items() <= run.params.items()


def test_a_schedules_run_names_the_schedule(store: Store, locked: LockedProject):
    run, _ = step(locked, "prepare").begin(context(triggering_user_name=None), store)
    assert run.started_by == "manual"


@pytest.mark.parametrize(
    ("params", "skipped"),
    [
        ({"version": 3}, {"train", "log_to_sacred"}),
        ({"release": False}, {"validate", "containerise", "test_image", "push", "deploy"}),
    ],
)
def test_what_a_run_leaves_out_is_skipped(
    store: Store, locked: LockedProject, params: dict[str, Any], skipped: set[str]
):
    for name in ("prepare", "train", "log_to_sacred", "validate", "containerise", "test_image", "push", "deploy"):
        if name in skipped:
            with pytest.raises(AirflowSkipException):
                step(locked, name).begin(context(params), store)
        else:
            step(locked, name).begin(context(params), store)


def test_an_environment_that_is_not_the_models_is_refused(store: Store, locked: LockedProject):
    with pytest.raises(RequestError, match="no environment 'mars'"):
        step(locked, "prepare").begin(context({"environment": "mars"}), store)


def test_ids_and_digests_go_to_airflow_and_nothing_else(store: Store, locked: LockedProject):
    validate = step(locked, "validate")
    run, _ = validate.begin(context(), store)
    leave(store, run, "validate", {"version": 3, "gates": [{"gate": "accuracy"}], "report": {"html": "sha256:ab"}})
    assert validate.end(context(), store, run, Ended(0, 1)) == {"version": 3}
    assert validate.links(store, run)["Validation report"].endswith("/models/wine/versions/3/report")


def test_a_new_version_is_an_event(store: Store, locked: LockedProject):
    log = step(locked, "log_to_sacred")
    assert log.outlets("wine") == [versions_asset("wine")]
    run, _ = log.begin(context(), store)
    made = version(store, run_id=7, pipeline_run=run.id)
    leave(store, run, "log_to_sacred", {"run_id": 7, "version": made.version})
    told = context()
    log.end(told, store, run, Ended(0, 1))
    extra = told["outlet_events"][versions_asset("wine")].extra
    assert extra == {
        "version": made.version,
        "model_digest": made.model_digest,
        "sacred_run": 7,
        "pipeline_run": run.id,
    }


def test_a_models_digest_tells_its_content_and_nothing_else(store: Store):
    first, same = version(store, run_id=7), version(store, run_id=8)
    twin = version(store, run_id=9, model=tuple(reversed((*first.model, *same.model))))
    other = version(store, run_id=10, model=(*first.model, *same.model))
    assert twin.model_digest == other.model_digest
    assert len({first.model_digest, same.model_digest, twin.model_digest}) == 3


def test_a_deployment_is_an_event_of_its_environment(store: Store, locked: LockedProject):
    deploy = step(locked, "deploy")
    run, _ = deploy.begin(context(), store)
    result = {
        "version": 3,
        "image_digest": "sha256:ab",
        "environment": "staging",
        "generation": 2,
        "address": "http://127.0.0.1:18000",
        "replaced": None,
    }
    leave(store, run, "deploy", result)
    told = context()
    deploy.end(told, store, run, Ended(0, 1))
    (alias,) = deploy.outlets("wine")
    (event,) = told["outlet_events"][alias].asset_alias_events
    assert event.dest_asset_key.uri == deployments_asset("wine", "staging").uri
    assert event.extra["version"] == 3
    assert event.extra["image_digest"] == "sha256:ab"


@pytest.mark.parametrize(
    ("error", "exit_code", "kind"),
    [
        (GateFailed("accuracy 0.8 is below 0.9", "train better"), 65, AirflowFailException),
        (Unavailable("the registry does not answer", "start it"), 75, AirflowException),
    ],
)
def test_a_steps_error_is_the_tasks(
    store: Store, locked: LockedProject, error: ModelyardError, exit_code: int, kind: type[Exception]
):
    validate = step(locked, "validate")
    run, _ = validate.begin(context(), store)
    leave(store, run, "validate", error)
    with pytest.raises(AirflowException) as raised:
        validate.end(context(), store, run, Ended(exit_code, 1))
    assert type(raised.value) is kind
    assert str(raised.value) == f"{error.message}\n  → {error.remedy}"


def test_a_killed_step_is_tried_again_and_an_older_trys_error_is_not_shown(store: Store, locked: LockedProject):
    train = step(locked, "train")
    run, _ = train.begin(context(), store)
    leave(store, run, "train", GateFailed("of try 1", None))
    later = context()
    later["ti"].try_number = 2
    with pytest.raises(AirflowException, match="ended by signal 9") as raised:
        train.end(later, store, run, Ended(-9, 2))
    assert type(raised.value) is AirflowException


def test_what_a_pod_that_outlived_its_worker_said_is_shown(store: Store, locked: LockedProject):
    train = step(locked, "train")
    run, _ = train.begin(context(), store)
    leave(store, run, "train", GateFailed("of try 1", None))
    later = context()
    later["ti"].try_number = 2
    with pytest.raises(AirflowFailException, match="of try 1"):
        train.end(later, store, run, Ended(65, 1))


def test_what_ended_a_step_from_outside_is_told(store: Store, locked: LockedProject):
    train = step(locked, "train")
    run, _ = train.begin(context(), store)
    with pytest.raises(AirflowException, match="Step 'train' was ended by the cluster") as worth_another:
        train.end(context(), store, run, Ended(137, 1, "was ended by the cluster (Evicted)"))
    assert not isinstance(worth_another.value, AirflowFailException)
    with pytest.raises(AirflowFailException, match="Step 'train' took more memory than it may"):
        train.end(context(), store, run, Ended(137, 1, "took more memory than it may", again=False))
    leave(store, run, "train", GateFailed("train.py was ended by SIGKILL", None))
    with pytest.raises(AirflowFailException, match="Step 'train' took more memory than it may"):
        train.end(context(), store, run, Ended(65, 1, "took more memory than it may", again=False))


def test_a_failed_validation_still_leads_to_its_version(store: Store, locked: LockedProject):
    validate = step(locked, "validate")
    run, _ = validate.begin(context(), store)
    assert validate.links(store, run) == {}
    leave(store, run, "log_to_sacred", {"run_id": 7, "version": 3})
    leave(store, run, "validate", GateFailed("too bad", None))
    assert validate.links(store, run)["Validation report"].endswith("/versions/3/report")


def test_two_airflows_never_share_a_run(locked: LockedProject):
    assert pipeline_run(context(), locked, "milan").id != pipeline_run(context(), locked, "rome").id


def test_only_a_step_that_deploys_has_the_cluster_of_its_run(
    store: Store, locked: LockedProject, monkeypatch: pytest.MonkeyPatch
):
    """Of the run as it was written down: another lock may lead elsewhere by now."""
    kubeconfig = {
        "current-context": "there",
        "contexts": [{"name": "there", "context": {"cluster": "there", "user": "robot"}}],
        "clusters": [{"name": "there", "cluster": {"server": "https://eu.example.com"}}],
        "users": [{"name": "robot", "user": {"token": "token"}}],
    }
    extra = {"kube_config": json.dumps(kubeconfig), "namespace": "models"}
    monkeypatch.setenv("AIRFLOW_CONN_EU", json.dumps({"conn_type": "kubernetes", "extra": extra}))
    monkeypatch.setenv("AIRFLOW_CONN_US", json.dumps({"conn_type": "kubernetes", "extra": {"kube_config": "{}"}}))
    run, _ = step(locked, "prepare").begin(context(), store)
    there, wrong = (replace(run, settings=run.settings | {"cluster": name}) for name in ("eu", "us"))

    assert step(locked, "deploy").cluster_access(run) is None
    assert step(locked, "train").cluster_access(there) is None
    for name in ("deploy", "rollback"):
        access = step(locked, name).cluster_access(there)
        assert access is not None
        assert access.kubeconfig is not None
        assert (access.conn_id, access.namespace) == ("eu", "models")
    with pytest.raises(RequestError, match="The connection 'us' leads to no cluster"):
        step(locked, "deploy").cluster_access(wrong)


def test_an_existing_secret_of_a_repository_has_a_name_that_no_project_can_ask_for(
    locked: LockedProject, monkeypatch: pytest.MonkeyPatch
):
    """A training's pod knows nothing of the repository's connection, so only the name can tell."""
    of_git = replace(locked, git_conn_id="wine_git")

    def named(name: str) -> None:
        extra = {"kubernetes_secret": name}
        monkeypatch.setenv("AIRFLOW_CONN_WINE_GIT", json.dumps({"conn_type": "git", "extra": extra}))

    named("modelyard-wine")
    assert step(of_git, "prepare").git_secret({}) == "modelyard-wine"
    assert step(of_git, "train").git_secret({}) is None
    named("wine-git")
    with pytest.raises(RequestError, match="'wine_git' names the Secret 'wine-git', which any project could mount"):
        step(of_git, "prepare").git_secret({})


def test_the_signing_key_is_given_to_the_step_that_signs_alone(locked: LockedProject, monkeypatch: pytest.MonkeyPatch):
    def connect(signing: dict[str, Any] | None) -> None:
        extra = {} if signing is None else {"signing_conn_id": "model_store_signing"}
        store = {"conn_type": "model_store", "host": "db", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_MODEL_STORE_DEFAULT", json.dumps(store))
        monkeypatch.setenv("AIRFLOW_CONN_MODEL_STORE_SIGNING", json.dumps({"conn_type": "generic", **(signing or {})}))

    connect({"password": "secret", "extra": {"private_key": "PEM"}})
    given = {one.name: step(locked, one.name).signing_key() for one in (*plan.STEPS, plan.ROLLBACK)}
    assert {name for name, key in given.items() if key is not None} == {"push"}
    assert given["push"] == SigningKey("PEM", "secret")
    connect(None)
    assert step(locked, "push").signing_key() is None
    connect({"password": "secret"})
    with pytest.raises(RequestError, match="The connection 'model_store_signing' has no signing key"):
        step(locked, "push").signing_key()
    connect({"extra": {"kubernetes_secret": "modelyard-signing"}})
    assert step(locked, "push").signing_secret() == "modelyard-signing"
    assert step(locked, "deploy").signing_secret() is None
    connect({"extra": {"kubernetes_secret": "cosign"}})
    with pytest.raises(RequestError, match="which any project could mount"):
        step(locked, "push").signing_secret()
