"""The people who speak the surgery dialect."""

import pytest

from accounts import roles
from realtime.calls import call
from realtime.tests.dialects.surgery.talk import account


@pytest.fixture
async def grey() -> str:
    return await call(account, "dr grey", roles.SURGEON)


@pytest.fixture
async def analyst() -> str:
    return await call(account, "analyst", roles.AI)
