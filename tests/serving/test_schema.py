"""What the server's OpenAPI schema promises, asked for by a program that is not ours, by its rules and
against them."""

from contextlib import suppress

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from test_page import running_server

from asking import done, send
from sparsegen.serving.app import create_app

PROMISES = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
# Of each operation; the same ones in every run.
ASKED = 120
UNHURRIED = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def existing(value, job, count=6):
    """The same of a job and of queries that are there: random ones next to never are."""
    if isinstance(value, list):
        return [existing(each, job, count) for each in value]
    if not isinstance(value, dict):
        return value
    known = {"job_id": job, "other_job": job, "sample": 0, "other_sample": 0, "index": 0}
    result = {name: known.get(name, existing(each, job, count)) for name, each in value.items()}
    if "queries" in value:
        result["queries"] = [int(query) % count for query in value["queries"]]
    if value.get("keep"):
        result["keep"] = 2 + int(value["keep"]) % (count - 1)
    return result


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["by", "against"])
def test_answers_are_as_the_schema_says(pipeline, picture, mode):
    answers = {}
    with running_server(create_app(pipeline)) as address:
        with httpx2.Client(base_url=address) as client:
            job = done(client, send(client, picture))["id"]
        schema = schemathesis.openapi.from_url(f"{address}openapi.json")
        for operation in (schema[path][method] for path in schema for method in schema[path]):

            @settings(max_examples=ASKED, derandomize=True, deadline=None, suppress_health_check=UNHURRIED)
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case):
                if mode == GenerationMode.POSITIVE and case.method != "DELETE":
                    case.path_parameters = existing(case.path_parameters, job)
                    case.body = existing(case.body, job)
                answer = case.call_and_validate(checks=PROMISES)
                answers.setdefault(case.operation.label, set()).add(answer.status_code)

            with suppress(Unsatisfiable):  # nothing can be wrong with some
                ask()
    succeeded = {label for label, codes in answers.items() if any(code < 300 for code in codes)}
    assert len(answers) >= 6
    assert len(succeeded) >= 6 if mode == GenerationMode.POSITIVE else not succeeded, answers
