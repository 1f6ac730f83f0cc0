"""Bodies that are made while they are sent."""

from collections.abc import AsyncIterator, Iterator
from functools import partial

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from rest_framework.request import Request


def streamed(
    request: Request | HttpRequest, parts: Iterator[bytes], content_type: str
) -> StreamingHttpResponse:
    """Return an answer whose parts are made when the client has room for them."""
    # Django collects an iterator of the wrong kind in memory before it sends a byte.
    is_async = isinstance(getattr(request, "_request", request), ASGIRequest)
    return StreamingHttpResponse(
        _InRequestThread(parts) if is_async else parts, content_type=content_type
    )


class _InRequestThread:
    """Advances an iterator in the thread that Django keeps for this request and its connection.

    Closing the answer closes the iterator, also when the client went away in the middle.
    """

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._advance = partial(sync_to_async(next, thread_sensitive=True), parts, None)
        self.close = getattr(parts, "close", lambda: None)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        part = await self._advance()
        if part is None:
            raise StopAsyncIteration
        return part
