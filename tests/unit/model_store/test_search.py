import pytest
from pydantic import ValidationError

from model_store.pages.search import Conditions


def test_an_empty_field_is_no_condition():
    empty = dict.fromkeys(("name", "tag", "commit", "state", "metric", "lowest", "highest", "parameter"), "")
    assert set(Conditions.model_validate(empty).arguments().values()) == {None}


def test_fields_become_what_the_store_is_asked():
    conditions = Conditions.model_validate(
        {"name": "wine", "metric": "accuracy", "lowest": "0.9", "parameter": "a.b = 2"}
    )
    asked = conditions.arguments()
    assert asked["metric"] == {"accuracy": (0.9, None)}
    assert asked["parameter"] == {"a.b": 2}
    assert Conditions(parameter="solver=lbfgs").arguments()["parameter"] == {"solver": "lbfgs"}


def test_the_next_page_keeps_the_conditions():
    assert Conditions(name="wine", lowest=0.5, metric="f1").query("77") == "name=wine&metric=f1&lowest=0.5&after=77"


@pytest.mark.parametrize("wrong", [{"state": "gone"}, {"lowest": "much"}])
def test_a_condition_that_cannot_be_one_is_refused(wrong: dict[str, str]):
    with pytest.raises(ValidationError):
        Conditions.model_validate(wrong)
