"""The tree of refusals: a Failure answers, a Disconnect ends, and each ends with its code."""

import pytest

from realtime.core import errors
from realtime.core.codes import CloseCode
from realtime.core.errors import Disconnect, Failure, Invalid, VitalwireError
from realtime.core.limits import Refusal

ALL = [
    thing
    for thing in vars(errors).values()
    if isinstance(thing, type) and issubclass(thing, Exception)
]
CODES = {
    errors.BadData: 1003,
    errors.PolicyViolation: 1008,
    errors.TooBig: 1009,
    errors.ServerFault: 1011,
    errors.Restarting: 1012,
    errors.TryLater: 1013,
    errors.OverBudget: 1013,
}


@pytest.mark.parametrize("error", ALL)
def test_every_error_hangs_on_the_tree(error: type[Exception]) -> None:
    assert issubclass(error, VitalwireError)


def test_nothing_both_answers_and_ends() -> None:
    assert not [
        error for error in ALL if issubclass(error, Failure) and issubclass(error, Disconnect)
    ]


def test_every_disconnect_has_a_code_of_its_own() -> None:
    ends = [error for error in ALL if issubclass(error, Disconnect) and error is not Disconnect]
    assert {error: int(error.code) for error in ends} == CODES


def test_a_disconnect_carries_its_reason() -> None:
    refusal = errors.PolicyViolation("token expired")
    assert (refusal.code, refusal.reason) == (CloseCode.POLICY_VIOLATION, "token expired")


def test_a_disconnect_may_have_a_name_of_its_own_in_the_records() -> None:
    assert errors.PolicyViolation("no").kind == "policy"
    assert errors.PolicyViolation("no", kind="forbidden").kind == "forbidden"


def test_a_budget_that_is_used_up_says_which() -> None:
    refusal = Refusal(
        kind="rate_limited", name="connections_per_minute", limit=10, used=10, retry_after_ms=900
    )
    error = errors.OverBudget(refusal)
    assert (error.kind, error.refusal) == ("rate_limited", refusal)
    assert "10 of your 10 a minute" in error.reason
    assert "try again in 1 s" in error.reason


def test_an_invalid_value_names_its_field() -> None:
    assert Invalid("too long", field="topic").field == "topic"
    assert Invalid("not JSON").field == ""


@pytest.mark.parametrize("error", ALL)
def test_every_error_says_in_one_sentence_when_it_is_raised(error: type[Exception]) -> None:
    assert (error.__doc__ or "").startswith(("Raised ", "The root"))
