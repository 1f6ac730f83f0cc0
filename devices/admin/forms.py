"""Fields and forms of the admin's pages."""

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from devices.models import Command
from devices.objects import check_object
from realtime.core.errors import Invalid


class ObjectField(forms.JSONField):
    """A JSON object; nothing stands for an empty one."""

    widget = UnfoldAdminTextareaWidget

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"required": False, "initial": dict, **kwargs})

    def clean(self, value: Any) -> dict[str, Any]:
        value = super().clean(value)
        if value is None:
            return {}
        try:
            check_object(value, "It")
        except Invalid as error:
            raise forms.ValidationError(f"{error}.") from error
        return value


class CommandForm(forms.Form):
    """What a device shall do."""

    command = forms.CharField(
        max_length=Command._meta.get_field("command").max_length,
        widget=UnfoldAdminTextInputWidget,
    )
    parameters = ObjectField(help_text='A JSON object, such as {"delay": 5}.')
    seconds = forms.IntegerField(
        label="Expires after seconds",
        min_value=1,
        max_value=365 * 86_400,
        required=False,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="How long it waits for a device; empty for the server's default.",
    )
