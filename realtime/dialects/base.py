"""What every dialect has: a name, and its words for events. See `realtime.hub.Dialect`."""

import msgspec

encode_json = msgspec.json.Encoder().encode
