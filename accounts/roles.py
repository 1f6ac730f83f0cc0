"""The names of the shipped roles, their aliases, and what each may do at first.

Imports nothing of Django: migrations and the token reader use it too. Editing `SHIPPED` changes
new databases only; an existing one keeps what its administrators made of it.
"""

from typing import Any

import msgspec

SURGEON = "ROLE_SURGEON"
AI = "ROLE_AI"
OPERATOR = "ROLE_OPERATOR"
DEVICE = "ROLE_DEVICE"
MEMBER = "ROLE_MEMBER"
VIEWER = "ROLE_VIEWER"
ADMIN = "ROLE_ADMIN"

# The surgery document writes the Spanish names too.
ALIASES = {"ROLE_CIRUJANO": SURGEON, "ROLE_IA": AI}

ENDPOINTS = ("simulation", "ai", "telemetry", "pubsub", "jwebsocket")


def resolve_role_name(name: str) -> str:
    """Return the name a role is stored under; a name that is no alias comes back as it is."""
    return ALIASES.get(name, name)


class ShippedRole(msgspec.Struct, frozen=True, kw_only=True):
    """A role as a new database gets it."""

    name: str
    endpoints: tuple[str, ...]
    subscribe: tuple[str, ...]
    publish: tuple[str, ...] = ()
    is_staff: bool = False


# All there is, except the private topics `users.<id>`.
_EVERY_TOPIC = (
    "telemetry.**",
    "alerts.**",
    "devices.**",
    "system.**",
    "surgeries.**",
    "presence.*",
    "chat.**",
    "updates.**",
    "notifications",
    "commands.**",
    "streams.**",
)

SHIPPED = (
    ShippedRole(
        name=SURGEON,
        endpoints=("simulation", "pubsub", "jwebsocket"),
        subscribe=("own:surgeries.**", "chat.**", "updates.**", "notifications", "presence.*"),
        publish=("chat.**", "updates.broadcast"),
    ),
    ShippedRole(
        name=AI,
        endpoints=("ai", "pubsub", "jwebsocket"),
        subscribe=("surgeries.**", "chat.**", "updates.**", "notifications"),
        publish=("chat.**", "updates.**"),
    ),
    ShippedRole(
        name=OPERATOR,
        endpoints=("telemetry", "pubsub", "jwebsocket"),
        subscribe=_EVERY_TOPIC,
        publish=("chat.**", "updates.**", "notifications"),
        is_staff=True,
    ),
    ShippedRole(
        name=DEVICE,
        endpoints=("telemetry",),
        subscribe=("own:devices.*", "own:commands.*"),
    ),
    ShippedRole(
        name=MEMBER,
        endpoints=("pubsub", "jwebsocket"),
        subscribe=("chat.**", "updates.**", "notifications", "presence.*"),
        publish=("chat.**", "updates.**"),
    ),
    ShippedRole(
        name=VIEWER,
        endpoints=("telemetry", "pubsub", "jwebsocket"),
        subscribe=_EVERY_TOPIC,
        is_staff=True,
    ),
    ShippedRole(
        name=ADMIN,
        endpoints=("telemetry", "pubsub", "jwebsocket"),
        subscribe=_EVERY_TOPIC,
        publish=("chat.**", "updates.**", "notifications", "streams.**"),
        is_staff=True,
    ),
)

SHIPPED_NAMES = frozenset(role.name for role in SHIPPED)


def create_missing(apps: Any, using: str) -> None:
    """Create every shipped role, with its group, that the database does not have.

    `apps` is Django's registry or a migration's historical one.
    """
    roles = apps.get_model("accounts", "Role").objects.using(using)
    groups = apps.get_model("auth", "Group").objects.using(using)
    present = set(roles.filter(name__in=SHIPPED_NAMES).values_list("name", flat=True))
    for role in SHIPPED:
        if role.name not in present:
            group, _ = groups.get_or_create(name=role.name)
            roles.create(
                name=role.name,
                endpoints=list(role.endpoints),
                subscribe=list(role.subscribe),
                publish=list(role.publish),
                is_staff=role.is_staff,
                group=group,
            )
