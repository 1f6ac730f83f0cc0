"""Close codes become errors that say whether trying again can help."""

import pytest

from realtime.client.errors import (
    ConnectionLost,
    FrameRefused,
    NotAllowed,
    RequestFailed,
    ServerBusy,
    ServerFault,
    ServerRestarting,
    TokenExpired,
    error_for_close,
)


@pytest.mark.parametrize(
    ("code", "reason", "error", "is_final"),
    [
        (1000, "", ConnectionLost, False),
        (1001, "", ConnectionLost, False),
        (1002, "", FrameRefused, True),
        (1003, "unknown event", FrameRefused, True),
        (1006, "", ConnectionLost, False),
        (1007, "", FrameRefused, True),
        (1008, "token expired", TokenExpired, False),
        (1008, "invalid token", NotAllowed, True),
        (1009, "", FrameRefused, True),
        (1011, "", ServerFault, False),
        (1012, "", ServerRestarting, False),
        (1013, "", ServerBusy, False),
        (4000, "", ConnectionLost, False),
    ],
)
def test_each_close_code_has_its_error(code, reason, error, is_final):
    raised = error_for_close(code, reason)
    assert type(raised) is error
    assert raised.is_final is is_final
    assert str(code) in str(raised)
    assert reason in str(raised)


@pytest.mark.parametrize(
    ("status", "is_final"),
    [(400, True), (401, False), (403, True), (404, True), (408, False), (429, False), (503, False)],
)
def test_a_status_says_whether_asking_again_can_help(status, is_final):
    assert RequestFailed(status, "text").is_final is is_final
