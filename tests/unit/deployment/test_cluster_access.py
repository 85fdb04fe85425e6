from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.deployment import ClusterAccess
from modelyard.deployment.kubernetes.cluster import connect_to
from modelyard.errors import RequestError

SECRET = "a-token-that-nobody-may-see"
KUBECONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "staging",
    "contexts": [
        {"name": "staging", "context": {"cluster": "one", "user": "robot", "namespace": "x"}},
        {"name": "production", "context": {"cluster": "two", "user": "other"}},
    ],
    "clusters": [
        {"name": "one", "cluster": {"server": "https://one.example.com:6443"}},
        {"name": "two", "cluster": {"server": "https://two.example.com:6443"}},
    ],
    "users": [
        {"name": "robot", "user": {"token": SECRET}},
        {"name": "other", "user": {"token": "another-token"}},
    ],
}


def access(**extra: Any) -> ClusterAccess:
    return ClusterAccess.from_extra("production_cluster", extra)


@pytest.mark.parametrize("form", [json.dumps, yaml.safe_dump, dict], ids=["json", "yaml", "object"])
def test_a_kubeconfig_is_taken_in_any_form_and_only_what_its_context_needs(form: Any, tmp_path: Path) -> None:
    given = access(kube_config=form(KUBECONFIG), namespace="models")
    assert given.namespace == "models"
    assert "another-token" not in json.dumps(given.to_json())
    assert ClusterAccess(**json.loads(json.dumps(given.to_json()))) == given
    settings = connect_to(given, tmp_path).configuration
    assert settings.host == "https://one.example.com:6443"
    assert settings.auth_settings()["BearerToken"]["value"] == f"Bearer {SECRET}"


def test_another_context_is_chosen_by_its_name(tmp_path: Path) -> None:
    given = access(kube_config=json.dumps(KUBECONFIG), cluster_context="production", disable_verify_ssl=True)
    settings = connect_to(given, tmp_path).configuration
    assert (settings.host, settings.verify_ssl) == ("https://two.example.com:6443", False)


def test_files_beside_a_kubeconfig_go_with_it(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("certificate")
    (tmp_path / "token").write_text(f"{SECRET}\n")
    changed = KUBECONFIG | {
        "clusters": [{"name": "one", "cluster": {"server": "https://one", "certificate-authority": "ca.crt"}}],
        "users": [{"name": "robot", "user": {"tokenFile": "token"}}],
    }
    (tmp_path / "config").write_text(yaml.safe_dump(changed))

    given = access(kube_config_path=str(tmp_path / "config"))

    assert given.kubeconfig is not None
    assert given.kubeconfig["users"][0]["user"] == {"token": SECRET}
    certificate = given.kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]
    assert certificate == b64encode(b"certificate").decode()
    made = tmp_path / "home" / "clusters"
    assert connect_to(given, tmp_path / "home").configuration.ssl_ca_cert.startswith(str(made))
    assert made.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("extra", [{}, {"in_cluster": True}, {"in_cluster": True, "kube_config": ""}])
def test_the_cluster_of_the_step_itself_needs_no_kubeconfig(extra: dict[str, Any]) -> None:
    assert access(**extra).kubeconfig is None


def test_what_a_connection_by_uri_switches_off_is_off() -> None:
    given = access(kube_config=json.dumps(KUBECONFIG), in_cluster="false", disable_verify_ssl="False")
    assert given.kubeconfig is not None
    assert "insecure-skip-tls-verify" not in given.kubeconfig["clusters"][0]["cluster"]


@pytest.mark.parametrize("key", ["in_cluster", "disable_verify_ssl"])
def test_a_flag_that_is_neither_yes_nor_no_is_refused_by_its_name(key: str) -> None:
    with pytest.raises(RequestError, match=f"{key} of the connection 'production_cluster' is 'maybe'"):
        access(**{key: "maybe"})


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ({"kube_config": "{", "kube_config_path": "/x"}, "more than one of"),
        ({"kube_config": f"token: [{SECRET}"}, "kube_config is no kubeconfig"),
        ({"kube_config": SECRET}, "kube_config is no kubeconfig"),
        ({"kube_config": f'{{"token": "{SECRET}"}}'}, "no complete context 'None'"),
        ({"kube_config": json.dumps(KUBECONFIG), "cluster_context": "gone"}, "no complete context 'gone'"),
        ({"kube_config_path": "/nowhere/config"}, "kube_config_path /nowhere/config: No such file"),
        (
            {"kube_config": json.dumps(KUBECONFIG | {"users": [{"name": "robot", "user": {"tokenFile": "/nowhere"}}]})},
            "names /nowhere: No such file",
        ),
    ],
)
def test_a_connection_that_leads_nowhere_is_told_without_what_it_holds(extra: dict[str, Any], why: str) -> None:
    with pytest.raises(RequestError) as refused:
        access(**extra)
    assert "'production_cluster' leads to no cluster" in refused.value.message
    assert why in refused.value.message
    assert SECRET not in str(refused.value)
    assert SECRET not in repr(access(kube_config=KUBECONFIG))
