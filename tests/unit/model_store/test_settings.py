"""airflow.cfg.example names only settings that this Airflow has: a name it does not know would do nothing."""

import configparser
from pathlib import Path

import yaml
from airflow import configuration
from airflow.providers.cncf.kubernetes import kubernetes_helper_functions

EXAMPLE = Path(__file__).parents[3] / "airflow.cfg.example"


def test_every_setting_of_the_example_exists():
    example = configparser.ConfigParser()
    example.read(EXAMPLE)
    known = yaml.safe_load((Path(configuration.__file__).parent / "config_templates" / "config.yml").read_text())
    ours = {"modelyard": {"projects", "execution"}}
    undeclared = Path(kubernetes_helper_functions.__file__).read_text()  # what the provider reads and does not declare
    unknown = [
        f"[{section}] {key}"
        for section in example.sections()
        for key in example[section]
        if key not in ours.get(section, known.get(section, {}).get("options", {}))
        and f'("{section}", "{key}"' not in undeclared
    ]
    assert unknown == []
