"""The application that daphne, uvicorn or another ASGI server runs."""

import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from channels.routing import ProtocolTypeRouter
from django.conf import settings
from django.core.asgi import get_asgi_application

http_application = get_asgi_application()

# Only now is the app registry ready for what has models.
from realtime.lifespan import Lifespan, StartsFirst
from realtime.routing import websocket_application
from realtime.runtime import runtime
from realtime.transports.body import BodyLimit

application = ProtocolTypeRouter(
    {
        "http": BodyLimit(http_application, most=settings.HTTP_BODY_BYTES),
        "websocket": StartsFirst(websocket_application(runtime), runtime),
        "lifespan": Lifespan(runtime),
    }
)

if "daphne.server" in sys.modules:
    from realtime.transports import daphne_server

    daphne_server.install(
        start=runtime.start,
        drain=runtime.drain,
        body_bytes=settings.HTTP_BODY_BYTES,
        header_seconds=settings.HEADER_SECONDS,
        handshake_seconds=settings.AUTH_TIMEOUT_SECONDS,
        stalled_seconds=settings.STALLED_SECONDS,
    )

if "uvicorn" in sys.modules:
    from realtime.transports import uvicorn_deflate

    uvicorn_deflate.install()
