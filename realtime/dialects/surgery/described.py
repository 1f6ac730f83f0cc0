"""What AsyncAPI says of this dialect. Source: seed 000."""

from realtime.asyncapi.description import Description, Endpoint, Message
from realtime.core.movement import Movement
from realtime.dialects.surgery.schema import Connected, NewSurgery, Saved

SURGERY_ID = "550e8400-e29b-41d4-a716-446655440000"
CREDENTIALS = ("query", "bearer", "subprotocol")
SUBPROTOCOLS = ("access_token.<JWT>", "realtime.v1")
TOKEN = {"type": "string", "description": "The access token."}

FRAME = Message(
    name="Movement",
    shape=Movement,
    answers=("Saved",),
    examples=(
        {"coordinates": [10.5, 20.3, 15.7], "event": "NONE", "timestamp": 1710523456789},
        {"coordinates": [10.5, 20.3], "event": "FINISH", "timestamp": 1710523459999},
    ),
)
SAVED = Message(name="Saved", shape=Saved, examples=({"status": "SAVED", "surgeryId": SURGERY_ID},))
CONNECTED = Message(
    name="Connected",
    shape=Connected,
    examples=({"status": "connected", "message": "IA conectada exitosamente"},),
)
NEW_SURGERY = Message(
    name="NewSurgery",
    shape=NewSurgery,
    examples=({"event": "NEW_SURGERY", "surgeryId": SURGERY_ID},),
)

SURGERY = Description(
    name="surgery",
    title="Surgery",
    text="Surgeons' simulators send every movement; the AI that scores them hears what is done.",
    endpoints=(
        Endpoint(
            name="simulation",
            address="/ws/simulation",
            summary="A surgeon's simulator. Only FINISH is answered, once everything is stored.",
            received=(FRAME,),
            sent=(SAVED,),
            query={
                "token": TOKEN,
                "surgery": {
                    "type": "string",
                    "format": "uuid",
                    "description": "The operation's id, chosen by the client, to resume it by.",
                },
            },
            credentials=CREDENTIALS,
            subprotocols=SUBPROTOCOLS,
        ),
        Endpoint(
            name="ai",
            address="/ws/ai",
            summary="The AI service. What it sends is ignored; it answers over REST.",
            received=(),
            sent=(CONNECTED, NEW_SURGERY),
            query={"token": TOKEN},
            credentials=CREDENTIALS,
            subprotocols=SUBPROTOCOLS,
        ),
    ),
)
