"""How far a device's clock may go wrong. Pure: no Django."""

from datetime import timedelta

# A device's clock may be ahead of ours by so much before its readings are flagged. One that is
# behind may just be late: a device that was cut off reports what it kept.
SKEW = timedelta(seconds=60)
