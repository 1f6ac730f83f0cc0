"""Close codes of RFC 6455 section 7.4.1, by name."""

from enum import IntEnum


class CloseCode(IntEnum):
    """Why a WebSocket ends. The first eight are what this server sends."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    BAD_DATA = 1003
    INVALID_UTF8 = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    GOING_AWAY = 1001
    ABNORMAL = 1006
