"""Users and roles in the admin; only ROLE_ADMIN may change them, whatever the permissions say."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import FilteredSelectMultiple
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.contrib.auth.models import Group, Permission
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminTextareaWidget,
)

from accounts import roles, services, tokens
from accounts.access import Right, may
from accounts.models import Role, User

# A role's permissions are edited with the role.
admin.site.unregister(Group)


class ForAdministratorsOnly:
    """Others may look, if their permissions let them."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return may(request.user, Right.MANAGE_USERS)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, Right.MANAGE_USERS)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, Right.MANAGE_USERS)


@admin.register(User)
class UserAdmin(ForAdministratorsOnly, BaseUserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm

    list_display = ("username", "role", "email", "is_active", "created_at")
    list_filter = ("role", "is_active")
    list_select_related = ("role",)
    search_fields = ("username", "email")
    ordering = ("username",)
    filter_horizontal = ()
    readonly_fields = ("id", "created_at", "last_login", "tokens_valid_from")
    fieldsets = (
        (None, {"fields": ("username", "password", "email", "role", "is_active")}),
        ("Record", {"fields": ("id", "created_at", "last_login", "tokens_valid_from")}),
    )
    add_fieldsets = ((None, {"fields": ("username", "email", "role", "password1", "password2")}),)
    actions = ("issue_token", "revoke_tokens")

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        if self.has_change_permission(request, obj):
            return super().get_fieldsets(request, obj)
        (title, _), record = self.fieldsets
        return ((title, {"fields": ("username", "email", "role", "is_active")}), record)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Save what this form changed: another administrator's change is not undone."""
        if change:
            obj.save(update_fields=form.changed_data)
        else:
            obj.save()

    @admin.action(description="Issue token", permissions=["change"])
    def issue_token(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse:
        """Show a new token for each user, on this answer only: it is stored nowhere."""
        issued = []
        for user in queryset.filter(is_active=True).select_related("role"):
            issued.append((user, tokens.issue_access(user), tokens.lifetime_of(user.role_id)))
            self.log_change(request, user, "Issued a token.")
        context = {
            **self.admin_site.each_context(request),
            "title": "Tokens, shown once",
            "opts": self.opts,
            "issued": issued,
            "inactive": queryset.filter(is_active=False),
        }
        response = TemplateResponse(request, "admin/accounts/issued_tokens.html", context)
        response["Cache-Control"] = "no-store"
        return response

    @admin.action(description="Revoke tokens and disconnect", permissions=["change"])
    def revoke_tokens(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in queryset:
            services.revoke_all_tokens(user)
            self.log_change(request, user, "Revoked all tokens.")
        self.message_user(
            request, f"Tokens revoked, connections closed: {len(queryset)}.", messages.SUCCESS
        )


class LinesField(forms.CharField):
    """A list of texts, one on each line."""

    widget = UnfoldAdminTextareaWidget

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        lines = (line.strip() for line in super().to_python(value).splitlines())
        return [line for line in lines if line]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return (initial or []) != self.to_python(data)


class RoleForm(forms.ModelForm):
    endpoints = forms.MultipleChoiceField(
        choices=[(name, name) for name in roles.ENDPOINTS],
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text=Role._meta.get_field("endpoints").help_text,
    )
    subscribe = LinesField(
        required=False, help_text=Role._meta.get_field("subscribe").help_text + " One on a line."
    )
    publish = LinesField(
        required=False, help_text=Role._meta.get_field("publish").help_text + " One on a line."
    )
    permissions = forms.ModelMultipleChoiceField(
        Permission.objects.select_related("content_type"),
        required=False,
        widget=FilteredSelectMultiple("permissions", is_stacked=False),
        help_text="What it may see and do in the admin.",
    )

    class Meta:
        model = Role
        fields: ClassVar = ("name", "endpoints", "subscribe", "publish", "is_staff")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.group_id is not None:
            self.initial["permissions"] = list(self.instance.group.permissions.all())


@admin.register(Role)
class RoleAdmin(ForAdministratorsOnly, ModelAdmin):
    form = RoleForm
    list_display = ("name", "endpoint_names", "is_staff")
    fieldsets = (
        (None, {"fields": ("name", "endpoints", "subscribe", "publish")}),
        ("Admin", {"fields": ("is_staff", "permissions")}),
    )

    @admin.display(description="endpoints")
    def endpoint_names(self, role: Role) -> str:
        return ", ".join(role.endpoints)

    def get_readonly_fields(self, request: HttpRequest, obj: Role | None = None) -> Iterable[str]:
        return ("name",) if obj is not None else ()

    def has_delete_permission(self, request: HttpRequest, obj: Role | None = None) -> bool:
        """The shipped roles stay: registration and the documents rely on them."""
        deletable = obj is None or not obj.is_shipped
        return deletable and super().has_delete_permission(request, obj)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def save_model(self, request: HttpRequest, obj: Role, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=[name for name in form.changed_data if name != "permissions"])
        else:
            obj.save()
        if "permissions" in form.changed_data:
            obj.group.permissions.set(form.cleaned_data["permissions"])
