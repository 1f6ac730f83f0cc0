"""Notifications: sent from a form, and what was sent."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe
from unfold.decorators import display
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.models import Role, User
from realtime.admin.base import ReadOnlyAdmin, with_rights
from realtime.admin.journal import HIDDEN, retention
from realtime.core.errors import Invalid
from realtime.core.events import Action, Notified, decode
from realtime.models import JournalEntry, Notification
from realtime.notifications import (
    LEVELS,
    MESSAGE_CHARACTERS,
    TITLE_CHARACTERS,
    audience_of,
    check_actions,
    notify,
)

LEVEL_COLOURS = {"info": "info", "success": "success", "warning": "warning", "error": "danger"}


class ActionsField(forms.CharField):
    """What a notification offers to do: on each line a label and, behind it, a URL."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 3})

    def to_python(self, value: Any) -> tuple[Action, ...]:
        actions = []
        for line in super().to_python(value).splitlines():
            if line.strip():
                label, _, url = line.strip().rpartition(" ")
                actions.append(Action(label.strip(), url))
        try:
            return check_actions(actions)
        except Invalid as error:
            raise forms.ValidationError(f"{error}.") from error

    def validate(self, value: Any) -> None:
        """Nothing is required."""


class NotificationForm(forms.ModelForm):
    """To a user, to a role or, with neither, to everybody."""

    level = forms.ChoiceField(
        choices=[(level, level.title()) for level in LEVELS], widget=UnfoldAdminSelectWidget
    )
    title = forms.CharField(max_length=TITLE_CHARACTERS, widget=UnfoldAdminTextInputWidget)
    message = forms.CharField(
        max_length=MESSAGE_CHARACTERS, widget=UnfoldAdminTextareaWidget(attrs={"rows": 4})
    )
    actions = ActionsField(
        required=False,
        help_text="On each line a label and a link: Learn more https://status.example.com",
    )
    role = forms.ModelChoiceField(
        Role.objects.all(),
        required=False,
        empty_label="Everybody",
        widget=UnfoldAdminSelectWidget,
        help_text="Only those of this role who hear notifications.",
    )
    user = forms.CharField(
        max_length=150,
        required=False,
        label="User name",
        widget=UnfoldAdminTextInputWidget,
        help_text="Only this user, who gets it later when they are away.",
    )

    class Meta:
        model = Notification
        fields: tuple[str, ...] = ()

    def clean_user(self) -> User | None:
        name = self.cleaned_data["user"]
        if not name:
            return None
        user = User.objects.filter(username=name, is_active=True).first()
        if user is None:
            raise forms.ValidationError("There is no active user of this name.")
        return user

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if given.get("role") and given.get("user"):
            raise forms.ValidationError("Name a role or a user, not both.")
        return given


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    """What a notification to one user says is read as other private messages are."""

    form = NotificationForm

    list_display = ("title", "level_label", "audience", "sent_by", "created_at")
    list_before_template = "admin/realtime/retention.html"
    change_form_before_template = "admin/realtime/sends.html"
    search_fields = ("event_id",)
    search_help_text = "An event's id"
    fields = ("title", "level", "message", "actions_offered", "audience", "sent_by", "created_at")
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest, *args: object) -> bool:
        return request.user.has_perm("realtime.add_notification")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        sent = super().get_queryset(request).filter(kind=Notified.__name__)
        return with_rights(request, sent)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, {"retention": retention(), **(extra_context or {})})

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """One is sent at a time, and looked at in the list."""
        buttons = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().changeform_view(
            request, object_id, form_url, {**buttons, **(extra_context or {})}
        )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None:
            return super().get_fieldsets(request, obj)
        return (
            (None, {"fields": ("level", "title", "message", "actions")}),
            ("To", {"fields": ("role", "user")}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.readonly_fields if obj is not None else ()

    def save_model(
        self, request: HttpRequest, obj: Notification, form: forms.ModelForm, change: bool
    ) -> None:
        given = form.cleaned_data
        event = notify(
            given["level"],
            given["title"],
            given["message"],
            given["actions"],
            user=given["user"],
            role=given["role"],
            by=request.user.get_username(),
        )
        row = Notification.objects.get(event_id=event.id)
        obj.pk, obj.event_id, obj.topic = row.pk, row.event_id, row.topic

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> str:
        given = form.cleaned_data
        to = given["user"] or given["role"] or "everybody"
        return f"Sent a notification ({given['level']}) to {to}."

    # --- What is shown ----------------------------------------------------------------------

    @admin.display(description="title")
    def title(self, entry: Any) -> str:
        return _event(entry).title if entry.is_readable else "(private)"

    @admin.display(description="level")
    def level(self, entry: Any) -> str:
        return _event(entry).level.title()

    @display(description="level", label=LEVEL_COLOURS)
    def level_label(self, entry: Any) -> tuple[str, str]:
        level = _event(entry).level
        return level, level.title()

    @admin.display(description="message")
    def message(self, entry: Any) -> str:
        return _event(entry).message if entry.is_readable else HIDDEN

    @admin.display(description="actions")
    def actions_offered(self, entry: Any) -> str:
        if not entry.is_readable:
            return HIDDEN
        # Shown, not linked: whoever looks at it here need not go there.
        actions = ((action.label, action.url) for action in _event(entry).actions)
        return format_html_join(mark_safe("<br>"), "{}: {}", actions) or "none"

    @admin.display(description="to")
    def audience(self, entry: Any) -> str:
        return audience_of(_event(entry))

    @admin.display(description="sent by")
    def sent_by(self, entry: Any) -> str:
        return _event(entry).by or "the system"


def _event(entry: JournalEntry) -> Notified:
    event = decode(bytes(entry.payload))
    assert isinstance(event, Notified)
    return event
