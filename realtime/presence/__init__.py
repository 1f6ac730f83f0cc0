"""Who is present: one presence per user, however many connections, dialects and processes.

`people` keeps what the connections of this process say, `rows` what all processes say together,
`roster` what was told of it.
"""

from realtime.presence.people import Presence
from realtime.presence.roster import Roster

__all__ = ["Presence", "Roster"]
