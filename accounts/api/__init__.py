"""What REST settings name: how a request is authenticated, how an error is answered.

The views are in `accounts.api.views`: importing them here would be circular, since the REST
framework imports its default authentication while its own views are being imported.
"""

from accounts.api.authentication import TokenAuthentication
from accounts.api.errors import explain_error

__all__ = ["TokenAuthentication", "explain_error"]
