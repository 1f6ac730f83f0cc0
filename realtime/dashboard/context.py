"""What every template may ask: which pages are for this person."""

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest

from accounts.access import Right, may


def doors(request: HttpRequest) -> dict[str, bool]:
    """Tell which entries of the navigation this person may open."""
    # Error pages may be drawn before anybody is known.
    user = getattr(request, "user", AnonymousUser())
    return {"sees_devices": may(user, Right.READ_DEVICES)}
