"""The project's settings with one more URL: see bench/urls.py."""

from project.settings import *  # noqa: F403

ROOT_URLCONF = "bench.urls"
