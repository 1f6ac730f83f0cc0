"""What a rule would have raised, on a page: its numbers can be tried out before they are saved."""

from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextInputWidget

from devices.models import AlertRule
from devices.services.previews import HOURS_DEFAULT, HOURS_MAX, preview_rule
from realtime.core.errors import Failure

TRIED = (
    "threshold",
    "clear_threshold",
    "raise_after_seconds",
    "clear_after_seconds",
    "cooldown_seconds",
)


class PreviewForm(forms.ModelForm):
    """The numbers of a rule, and how far to look back. Nothing is saved."""

    hours = forms.FloatField(
        initial=HOURS_DEFAULT,
        min_value=0.01,
        max_value=HOURS_MAX,
        help_text=f"How far to look back, at most {HOURS_MAX}.",
    )

    class Meta:
        model = AlertRule
        fields = TRIED

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget = UnfoldAdminTextInputWidget()


class PreviewMixin:
    """Adds the page to the admin of rules."""

    actions_detail = ("preview",)

    @action(description="Preview…", url_path="preview", permissions=["view"])
    def preview(self, request: HttpRequest, object_id: str) -> HttpResponse:
        rule = self.get_object(request, object_id)
        if rule is None:
            raise Http404
        form, preview, problem = PreviewForm(request.GET or None, instance=rule), None, ""
        if not form.is_bound or form.is_valid():
            hours = form.cleaned_data["hours"] if form.is_bound else HOURS_DEFAULT
            try:
                preview = preview_rule(rule, now=timezone.now(), hours=hours)
            except Failure as failure:
                problem = f"{failure}."
        context = {
            **self.admin_site.each_context(request),
            "title": f"Preview: {rule.name}",
            "opts": self.opts,
            "form": form,
            "rule": rule,
            "preview": preview,
            "problem": problem,
        }
        return TemplateResponse(request, "admin/devices/preview_rule.html", context)
