"""The content security policy: one for our pages, a looser one for the admin's theme alone."""

from typing import Any

from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

# unfold 0.91 evaluates its templates in the browser (Alpine) and writes scripts and styles
# into its pages; with the pages' own policy a modal covers every list. Guarded by
# `tests/test_policy.py`.
ADMIN_NEEDS = {
    "script-src": ["'self'", "'unsafe-inline'", "'unsafe-eval'"],
    "frame-ancestors": ["'self'"],
}


class PolicyMiddleware(CSPMiddleware):
    """Sends the policy of `settings.CONTENT_SECURITY_POLICY`, loosened under the admin."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, *args: Any, **kwargs: Any
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, *args, **kwargs)
        if request.path.startswith(reverse("admin:index")):
            parts.replace = {**(parts.replace or {}), **ADMIN_NEEDS}
        return parts
