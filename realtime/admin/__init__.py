"""The admin of the conversations: one module for each thing that is looked at."""

from realtime.admin import connections, files, journal, notifications, operations, queued

__all__ = ["connections", "files", "journal", "notifications", "operations", "queued"]
