"""Does what is stored of an operation still match what was recorded?"""

import msgspec

from devices import access
from devices.models import Surgery
from devices.trajectory import Proof, prove
from realtime.core.apart import run_apart


def verify(surgery: Surgery) -> Proof:
    """Walk the chain of one operation, and compare its end with what its row says."""
    return _compared(surgery, prove(surgery.id, access.links_of(surgery)))


def verify_apart(surgery: Surgery) -> Proof:
    """The same inside a server: the computing is left to a child process.

    Raises Unavailable when too much is being computed already.
    """
    return _compared(surgery, run_apart(prove, surgery.id, list(access.links_of(surgery))))


def _compared(surgery: Surgery, proof: Proof) -> Proof:
    """The chain alone does not show that chunks were cut off at its end; the row does."""
    if not proof.holds or not surgery.digest:
        return proof
    if surgery.digest != proof.digest or surgery.movements != proof.movements:
        problem = (
            f"the operation ended with {surgery.movements} movements and digest"
            f" {surgery.digest}, what is stored ends with {proof.movements} and {proof.digest}"
        )
        return msgspec.structs.replace(proof, problem=problem, bad_chunk=proof.chunks)
    return proof
