"""Django for the plain Channels peer: one table, and the database settings of the project."""

import os

from project import env

DATABASES = {"default": env.database("DATABASE_URL", "sqlite:////tmp/peer.sqlite3")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    # The peer's one database thread keeps its connection: better than a new one per frame.
    DATABASES["default"]["CONN_MAX_AGE"] = None

SECRET_KEY = os.environ["SECRET_KEY"]
DEBUG = False
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["bench.peers"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
CHANNEL_LAYERS = {}
