"""The settings as tests see them: development secrets, and a channel namespace of their own."""

import os

os.environ.setdefault("DEBUG", "1")

# Parallel test workers share one Redis and must not hear each other.
os.environ["REDIS_PREFIX"] = f"test-{os.getpid()}"

from project.settings import *  # noqa: F403

# Tests log in more often than people do, all from one address.
LOGINS_PER_ADDRESS_PER_MINUTE = 0

# Stored files of a test live as long as its process.
STORAGES["files"] = {"BACKEND": "django.core.files.storage.InMemoryStorage"}  # noqa: F405
