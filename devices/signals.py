"""What can happen to an operation, for whoever wants to tell others.

Each is sent inside the transaction that makes it true, once per transition, with the saved
`surgery`; a receiver that raises undoes the change. `surgery_started` also says whether an
interrupted operation was `resumed`.
"""

from django.dispatch import Signal

surgery_started = Signal()
surgery_completed = Signal()
surgery_interrupted = Signal()
surgery_analysed = Signal()

# Another socket wants to record: whoever holds a recording number below `surgery.claimed` lets go.
recording_claimed = Signal()
