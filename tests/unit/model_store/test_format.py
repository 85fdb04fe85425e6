from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from model_store.pages import format as formats


class Attributes(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {name: value or "" for name, value in attrs}


@pytest.mark.parametrize(("value", "shown"), [(0.97123456789, "0.971235"), (3, "3"), (None, "–"), ("x", "x")])
def test_a_figure_has_the_digits_that_count(value: object, shown: str):
    assert formats.number(value) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 * 1024**4, "3.0 TiB")]
)
def test_bytes_have_the_unit_that_fits(count: int, shown: str):
    assert formats.size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(1.25, "1.2 s"), (59.96, "60.0 s"), (61, "1 min 1 s"), (3600 + 120, "1 h 2 min")]
)
def test_how_long_something_took(seconds: float, shown: str):
    start = datetime(2026, 3, 1, tzinfo=UTC)
    assert formats.duration(start, start + timedelta(seconds=seconds)) == shown
    assert formats.duration(start, None) == "–"


def test_sacreds_times_without_a_zone_are_utc():
    shown = formats.moment(datetime(2026, 3, 1, 9, 30, 5))  # noqa: DTZ001
    assert (
        shown == '<time datetime="2026-03-01T09:30:05+00:00" title="2026-03-01T09:30:05+00:00">2026-03-01 09:30</time>'
    )
    assert formats.moment(None) == "–"


def test_a_configuration_is_shown_by_dotted_paths():
    assert formats.flat({"model": {"C": 1, "deep": {"er": None}}, "empty": {}}) == {
        "model.C": 1,
        "model.deep.er": None,
        "empty": {},
    }


def test_a_chart_draws_finite_points_and_escapes_its_name():
    drawn = formats.chart([0, 1, 2, 3], [0.0, float("nan"), 5.0, 10.0], '<"loss">')
    read = Attributes()
    read.feed(drawn)
    assert read.found["aria-label"] == '<"loss">'
    points = [tuple(map(float, point.split(","))) for point in read.found["points"].split()]
    assert [x for x, _ in points] == pytest.approx([0, 160, 240])
    assert points[0][1] > points[1][1] > points[2][1]


@pytest.mark.parametrize("values", [[], [1.0], [float("inf"), 2.0], ["a", "b"]])
def test_no_line_is_drawn_where_there_is_none(values: list[object]):
    assert formats.chart(range(len(values)), values, "x") == ""


def test_a_long_course_is_thinned():
    steps = list(range(100_000))
    assert len(formats.chart(steps, steps, "x")) < 10_000
    assert formats.chart([5, 5], [2.0, 2.0], "flat").count(",") == 2
