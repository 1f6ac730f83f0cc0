"""What our admin pages have in common: what is recorded stays, what is changed is told."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Model, QuerySet
from django.forms import Form, ModelForm
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin

from realtime.core.errors import Failure

# A list of millions of rows says "10,000" rather than count them all.
COUNTED_MAX = 10_000
VALUE_CHARACTERS = 100

Row = TypeVar("Row", bound=Model)


class BoundedPaginator(Paginator):
    """Counts no further than to COUNTED_MAX; older rows are found by narrowing the list."""

    @cached_property
    def count(self) -> int:
        return self.object_list.order_by()[:COUNTED_MAX].count()


class RecordAdmin(ModelAdmin):
    """What is recorded is neither added nor deleted by hand."""

    def has_add_permission(self, request: HttpRequest, *args: object) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


class HistoryAdmin(RecordAdmin):
    """Rows that the system writes, people read, and only services change. There may be many."""

    paginator = BoundedPaginator
    show_full_result_count = False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Whether its actions are allowed: by the permission that its form does not ask for."""
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")


class TellingAdmin(ModelAdmin):
    """Saves what a form changed and nothing else, and keeps from what to what in the history."""

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm, change: bool) -> None:
        """The rest of the page may be stale, and so may `obj`."""
        obj.updated_at = timezone.now()
        if not change:
            obj.save()
        elif form.changed_data:
            obj.save(update_fields=[*form.changed_data, "updated_at"])

    def construct_change_message(
        self, request: HttpRequest, form: Form, formsets: Any, add: bool = False
    ) -> Any:
        if add or not form.changed_data:
            return super().construct_change_message(request, form, formsets, add)
        before = {name: form.initial.get(name) for name in form.changed_data}
        return describe_changes(before, form.cleaned_data)


class EachMixin:
    """For actions that do something to each chosen row on its own."""

    def each(
        self,
        request: HttpRequest,
        rows: QuerySet[Row],
        do: Callable[[Row], str],
        *,
        is_change: bool = True,
    ) -> None:
        """Do it to each and say what came of it; a change is kept in the row's history as well.

        `do` returns what it did, as a sentence without its full stop, or raises Failure.
        """
        for row in rows:
            try:
                done = self._change(request, row, do) if is_change else do(row)
                self.message_user(request, f"{row}: {done}.", messages.SUCCESS)
            except Failure as error:
                self.message_user(request, f"{row}: {error}.", messages.ERROR)

    @transaction.atomic
    def _change(self, request: HttpRequest, row: Row, do: Callable[[Row], str]) -> str:
        done = do(row)
        self.log_change(request, row, f"{done[0].upper()}{done[1:]}.")
        return done


def describe_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return "Changed location from “Zone A” to “Zone B”." for the fields of `before`."""
    changes = (
        f"{name.replace('_', ' ')} from {_show(before[name])} to {_show(after[name])}"
        for name in before
    )
    return f"Changed {', '.join(changes)}."


def _show(value: Any) -> str:
    if isinstance(value, Model):
        value = value.pk
    text = "" if value is None else str(value)
    if len(text) > VALUE_CHARACTERS:
        text = f"{text[:VALUE_CHARACTERS]}…"
    return f"“{text}”" if text else "nothing"
