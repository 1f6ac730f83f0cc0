"""Topics are dotted names, patterns hear them: `*` is one segment, a trailing `**` the rest.

The first segment of a pattern is always literal, so that a pattern can be found by it and
nobody listens to everything by accident.
"""

from functools import lru_cache

from realtime.core.errors import BadTopic

MAX_LENGTH = 255
MAX_DEPTH = 8
ONE = "*"
REST = "**"

# Private or internal: no role can be given these to hear.
NEVER_HEARD = frozenset({"users", "control"})
# The system itself speaks on these: nobody can be given them to publish to.
RESERVED = NEVER_HEARD | {
    "telemetry",
    "alerts",
    "devices",
    "surgeries",
    "system",
    "presence",
    "commands",
}


def _segments(name: str) -> list[str]:
    if not name or len(name) > MAX_LENGTH:
        raise BadTopic(f"a topic has 1 to {MAX_LENGTH} characters", field="topic")
    segments = name.split(".")
    if len(segments) > MAX_DEPTH:
        raise BadTopic(f"a topic has at most {MAX_DEPTH} segments", field="topic")
    for segment in segments:
        if not segment:
            raise BadTopic("a topic has no empty segment", field="topic")
        if not segment.isprintable() or " " in segment:
            raise BadTopic("a topic has no spaces or control characters", field="topic")
    return segments


def check_topic(topic: str) -> str:
    """Return `topic` when it names one thing. Raises BadTopic, for wildcards too."""
    for segment in _segments(topic):
        if ONE in segment:
            raise BadTopic("a wildcard is for subscribing only", field="topic")
    return topic


def check_pattern(pattern: str) -> str:
    """Return `pattern` when it may be subscribed to. Raises BadTopic."""
    segments = _segments(pattern)
    if ONE in segments[0]:
        raise BadTopic("the first segment of a pattern is literal", field="topic")
    for position, segment in enumerate(segments[1:], start=1):
        if segment == ONE or (segment == REST and position == len(segments) - 1):
            continue
        if ONE in segment:
            raise BadTopic("* stands for a whole segment, ** only at the end", field="topic")
    return pattern


def root_of(name: str) -> str:
    """Return the first segment of a topic or pattern."""
    return name.partition(".")[0]


@lru_cache(maxsize=4096)
def patterns_matching(topic: str) -> tuple[str, ...]:
    """Return every pattern that hears `topic`, the most specific first.

    "a.b" -> ("a.b", "a.*", "a.b.**", "a.*.**", "a.**"). `**` stands for zero or more segments,
    so "a.**" hears "a" as well. At most 3 * 2**(MAX_DEPTH - 1) - 1 patterns; a hub looks them
    up instead of trying every subscription. Source: seed 003, "Subscribe to Topics".
    """
    first, *rest = topic.split(".")
    stems = [[first]]
    exact = [first]
    with_rest = [f"{first}.{REST}"]
    for segment in rest:
        stems = [[*stem, choice] for stem in stems for choice in (segment, ONE)]
        exact = [".".join(stem) for stem in stems]
        with_rest = [*(f"{name}.{REST}" for name in exact), *with_rest]
    return (*exact, *with_rest)


@lru_cache(maxsize=65_536)
def matches(pattern: str, topic: str) -> bool:
    """Tell whether `pattern` hears `topic`."""
    wanted, given = pattern.split("."), topic.split(".")
    if wanted[-1] == REST:
        wanted.pop()
        given = given[: len(wanted)]
    return len(wanted) == len(given) and all(
        w in (ONE, g) for w, g in zip(wanted, given, strict=True)
    )


def overlaps(one: str, other: str) -> bool:
    """Tell whether some topic is heard by both patterns."""
    a, b = one.split("."), other.split(".")
    a_rest, b_rest = a[-1] == REST, b[-1] == REST
    if a_rest:
        a.pop()
    if b_rest:
        b.pop()
    if (len(a) < len(b) and not a_rest) or (len(b) < len(a) and not b_rest):
        return False
    return all(x == y or ONE in (x, y) for x, y in zip(a, b, strict=False))
