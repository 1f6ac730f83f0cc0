"""What can happen to operations and devices, for whoever wants to tell others.

Each is sent inside the transaction that makes it true, once per transition, with the saved
row; a receiver that raises undoes the change.
"""

from django.dispatch import Signal

# --- Operations: `surgery`; the first also says whether an interrupted one was `resumed`. ---

surgery_started = Signal()
surgery_completed = Signal()
surgery_interrupted = Signal()
surgery_analysed = Signal()

# Another socket wants to record: whoever holds a recording number below `surgery.claimed` lets go.
recording_claimed = Signal()

# --- Devices ---

# `device`: it was added, edited, bound to an account or taken out of service.
device_changed = Signal()
# `device`, and its `old_status`; the reason is the device's `status_reason`.
device_status_changed = Signal()
# `command`: it waits for its device; and later: it was executed, failed or expired.
command_issued = Signal()
command_ended = Signal()

# --- Alerts: `alert`; its status says whether it was acknowledged or resolved. ---

alert_raised = Signal()
alert_updated = Signal()
# `rule_id`: a rule was added, edited or deleted.
rules_changed = Signal()

# Readings that came in otherwise than over a socket were stored: `readings`, a list of
# `devices.readings.Report`. Sent after the commit; a receiver cannot undo anything.
readings_recorded = Signal()
