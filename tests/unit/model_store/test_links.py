import pytest

from model_store import links


def test_a_button_leads_to_what_the_step_left():
    found = links.addresses("wine", {"run_id": 7, "version": 3, "address": "http://127.0.0.1:18000"})
    assert found == {
        "Sacred run": "/modelyard/models/wine/runs/7",
        "Model version": "/modelyard/models/wine/versions/3",
        "Validation report": "/modelyard/models/wine/versions/3/report",
        "Image": "/modelyard/models/wine/versions/3#image",
        "Service": "http://127.0.0.1:18000/docs",
    }
    assert links.addresses("wine", {"version": None, "commit": "3251d04"}) == {}


def test_addresses_are_below_the_path_that_airflow_is_served_under(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.com/team/airflow/")
    assert links.page("wine") == "/team/airflow/modelyard/models/wine"


def test_each_button_keeps_its_address_under_a_key_of_its_own():
    buttons = [links.RUN, links.VERSION, links.REPORT, links.IMAGE, links.SERVICE]
    assert len({button.xcom_key for button in buttons}) == len(buttons)
