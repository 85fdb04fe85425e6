"""A project in a private Git repository: a DAG by one entry in a list, trained at the commit a run was started with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.fixtures_machine import EXAMPLES, fail, succeed
from tests.git_server import git, serving_git

from modelyard.demo.machine import Machine
from modelyard.demo.rest import AirflowApi
from modelyard.sources import Credentials
from modelyard.store import Store

LOGIN = Credentials("robot", "a-token-that-no-log-may-show")
CONNECTION = "wines_git"


def test_a_project_of_a_private_repository_is_trained_at_a_ref(
    machine: Machine, api: AirflowApi, projects: Path, tmp_path: Path
):
    repository = tmp_path / "wines"
    project = repository / "models" / "wine-git"
    shutil.copytree(EXAMPLES / "wine", project)
    model_yaml = project / "model.yaml"
    model_yaml.write_text(model_yaml.read_text().replace("name: wine\n", "name: wine-git\n"))
    git(repository, "init", "-q", "-b", "main")
    modelyard("lock", str(project), home=machine.home)
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "First")
    git(repository, "tag", "first")
    train = project / "train.py"
    train.write_text(train.read_text().replace("    C = 1.0", "    C = 0.5"))
    modelyard("lock", str(project), home=machine.home)
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Second")

    with serving_git(tmp_path, LOGIN) as server:
        url = f"{server}/wines/.git"
        entry = ("--git", url, "--subfolder", "models/wine-git", "--connection", CONNECTION, "--into", str(projects))
        modelyard("lock", *entry, home=machine.home)
        listed = json.loads((projects / "git-projects.json").read_text())
        assert [(one["git"], one["connection"]) for one in listed] == [(url, CONNECTION)]

        api.put_connection(CONNECTION, {"conn_type": "git", "login": LOGIN.username, "password": "guessed"})
        refused = fail(api, "wine-git", {})
        assert list(refused) == ["prepare"]
        assert url in refused["prepare"]
        assert "guessed" not in refused["prepare"]

        api.put_connection(CONNECTION, {"conn_type": "git", "login": LOGIN.username, "password": LOGIN.token})
        runs = {ref: succeed(api, "wine-git", {"ref": ref, "release": ref == "first"}) for ref in ("first", None)}

    with Store.open(machine.store) as store:
        for ref, run in runs.items():
            version = store.versions.get("wine-git", api.xcom("wine-git", run, "log_to_sacred")["version"])
            assert version.commit == git(repository, "rev-parse", ref or "main")
            assert not version.dirty
            assert version.config["C"] == (1.0 if ref == "first" else 0.5), "each commit has its own default"
            logs = [api.log("wine-git", run, task.task_id, task.try_number) for task in api.tasks("wine-git", run)]
            assert LOGIN.token not in json.dumps(logs)
        live = store.deployments.live("wine-git", "production")
        assert live is not None
        assert live.version == 1


def modelyard(*arguments: str, home: Path) -> None:
    """Run the command as a person does, who has the repository's token in the environment."""
    environment = os.environ | {"MODELYARD_HOME": str(home)}
    environment |= {"MODELYARD_GIT_USERNAME": LOGIN.username, "MODELYARD_GIT_PASSWORD": LOGIN.token}
    subprocess.run([Path(sys.executable).parent / "modelyard", *arguments], env=environment, check=True)
