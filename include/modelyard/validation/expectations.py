"""Great Expectations itself: the child process of :mod:`modelyard.validation.suites`, and nothing else.

``python -I -m modelyard.validation.expectations FOLDER`` reads ``FOLDER/jobs.json``, writes Data Docs to
``FOLDER/docs.html`` and what it found to ``FOLDER/results.json``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from string import Template
from typing import Any

import great_expectations as gx
from great_expectations.core import ExpectationSuite
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.exceptions import GreatExpectationsError
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view import DefaultJinjaPageView

from modelyard.client.plain import missing
from modelyard.validation.suites import Failure, SuiteResult
from modelyard.validation.tables import TableError, read_table

JSON = dict[str, Any]

_MOST_SHOWN = 5


class SuiteError(ValueError):
    """A suite file is none: what is wrong in it, as a sentence."""


def main(folder: Path) -> None:
    """Run the jobs of a folder."""
    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False),
        ),
    )
    source = context.data_sources.add_pandas("data")
    results, sections = [], list[JSON]()
    for job in json.loads((folder / "jobs.json").read_bytes()):
        result, found = _check(context, source, job)
        results.append(result)
        if found is not None:
            rendered = ValidationResultsPageRenderer().render(found).to_json_dict()["sections"]
            sections += [{**rendered[0], "data_set": result.data}, *rendered[1:]]
    if sections:
        (folder / "docs.html").write_text(_docs(sections), encoding="utf-8")
    (folder / "results.json").write_text(json.dumps([result.to_json() for result in results]))


def _docs(sections: list[JSON]) -> str:
    """Return Great Expectations' own rendering of all results as one page.

    Its usual page loads styles and scripts from half a dozen hosts; this one needs nothing, shows the same, and can
    be kept and served as one file.
    """
    view = DefaultJinjaPageView(custom_views_directory=str(Path(__file__).parent))
    return str(view.env.get_template("data_docs.html").render(sections=sections))


def _check(context: Any, source: Any, job: JSON) -> tuple[SuiteResult, Any | None]:
    """Return a suite's result, and Great Expectations' own when it could be run."""
    name = job["data"]
    place = f"expectations/{name}.json"
    try:
        frame = read_table(Path(job["file"]), job["format"])
        expectations = _expectations(Path(job["suite"]))
    except TableError as error:
        return SuiteResult(name, 0, 0, error=f"data set '{name}': {error}"), None
    except SuiteError as error:
        return SuiteResult(name, 0, 0, error=f"{place}: {error}"), None
    if not expectations:
        return SuiteResult(name, 0, 0, error=f"{place} holds no expectation: it would check nothing"), None
    suite = context.suites.add(ExpectationSuite(name=name, expectations=expectations))
    batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole")
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
    found = definition.run(batch_parameters={"dataframe": frame}, result_format="SUMMARY")
    failures = [
        Failure(_told(result), refuses=result.expectation_config.severity == "critical")
        for result in found.results
        if not result.success
    ]
    total = len(found.results)
    return SuiteResult(name, total, total - len(failures), tuple(failures)), found


def _expectations(path: Path) -> list[Any]:
    """Return a suite's expectations; an ``ExpectationSuite`` would leave out those that it does not understand."""
    try:
        written = json.loads(path.read_bytes())["expectations"]
    except (ValueError, KeyError, TypeError) as error:
        raise SuiteError(f"it is no suite of Great Expectations 1.x: {error}") from error
    expectations = []
    for number, item in enumerate(written):
        try:
            expectations.append(ExpectationConfiguration(**{**item, "id": None}).to_domain_obj())
        except (ValueError, TypeError, GreatExpectationsError) as error:
            raise SuiteError(f"expectations.{number} is not understood: {error}") from error
    return expectations


def _told(result: Any) -> str:
    """Return an unmet expectation in Great Expectations' own words, with what was found, and in which rows."""
    result.render()
    rendered = next(
        (content.value for content in result.expectation_config.rendered_content or [] if content.value.template), None
    )
    if rendered is None:
        expectation = f"{result.expectation_config.type} {result.expectation_config.kwargs}"
    else:
        values = {name: parameter["value"] for name, parameter in rendered.params.items()}
        quoted = {name: f"'{value}'" if name.startswith("column") else value for name, value in values.items()}
        expectation = Template(rendered.template).safe_substitute(quoted).rstrip(".")
    return f"{expectation}: {_found(result)}"


def _found(result: Any) -> str:
    if errors := _errors(result.exception_info or {}):
        return "; ".join(errors)
    details = result.result
    if "unexpected_count" in details:
        found = f"{details['unexpected_count']:,} of {details['element_count']:,} are not"
        values = dict.fromkeys(
            str(value)
            for value in details.get("partial_unexpected_list", ())
            if not isinstance(value, tuple) and not missing(value)
        )
        if values:
            found += ", such as " + ", ".join(list(values)[:_MOST_SHOWN])
        if rows := details.get("partial_unexpected_index_list"):
            shown = [str(row + 1) for row in rows[:_MOST_SHOWN]]
            found += f" (row{'s' if len(shown) > 1 else ''} {', '.join(shown)}{' …' if len(rows) > len(shown) else ''})"
        return found
    if "observed_value" in details:
        return f"found {details['observed_value']}"
    return "it is not so"


def _errors(info: JSON) -> list[str]:
    """Return the messages of what was raised: one, or one for each metric that could not be computed."""
    raised = [info] if "raised_exception" in info else list(info.values())
    return list(dict.fromkeys(str(entry["exception_message"]) for entry in raised if entry["raised_exception"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
