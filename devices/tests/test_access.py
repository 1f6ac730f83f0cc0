"""Who gets which row, whether a token or a page asks. Bodies and codes are in `test_api.py`."""

import subprocess
import sys
from uuid import uuid4

import pytest

from accounts.access import principal_for_token
from accounts.models import User
from accounts.tokens import issue_access
from devices.access import (
    access_surgery,
    surgeries_visible_to,
    trajectory_json,
    unanalysed_among,
)
from devices.services.surgeries import record_analysis
from devices.tests.builders import NOW, completed, in_progress, interrupted, movements
from devices.trajectory import decode_movements
from realtime.core.errors import Forbidden, NotFound


def test_an_account_may_see_what_its_token_may(
    surgeon: User, other_surgeon: User, ai: User, member: User
) -> None:
    surgery = completed(surgeon, 1)
    for user, count in ((surgeon, 1), (other_surgeon, 0), (ai, 1), (member, 0)):
        for who in (user, principal_for_token(issue_access(user))):
            assert surgeries_visible_to(who).count() == count
            if count:
                assert access_surgery(who, surgery.id) == surgery
            else:
                with pytest.raises(Forbidden):
                    access_surgery(who, surgery.id)
            with pytest.raises(NotFound):
                access_surgery(who, uuid4())


def test_those_who_wait_for_a_score_are_the_completed_ones_without(surgeon: User) -> None:
    waiting, analysed = completed(surgeon, 1).id, completed(surgeon, 1).id
    record_analysis(surgery_id=analysed, score=1, feedback="x", now=NOW)
    others = [in_progress(surgeon, 1).surgery_id, interrupted(surgeon, 1).id, uuid4()]
    assert unanalysed_among([waiting, analysed, *others]) == {waiting}
    assert unanalysed_among([]) == set()


@pytest.mark.parametrize("sizes", [[], [1], [3, 2], [1] * 64, [1] * 65, [2] * 130])
def test_a_trajectory_is_one_array_however_many_chunks_it_has(
    surgeon: User, sizes: list[int]
) -> None:
    surgery = access_surgery(surgeon, in_progress(surgeon, *sizes).surgery_id)
    array = b"".join(trajectory_json(surgery))
    assert decode_movements(array) == movements(sum(sizes))


def test_what_computes_needs_no_django() -> None:
    """A child process imports it; it must not wait for a whole application to load."""
    code = (
        "import sys, devices.scoring, devices.trajectory;"
        "sys.exit(any(name.split('.')[0] == 'django' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
