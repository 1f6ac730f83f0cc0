"""Operations in the admin: looked at and annotated; state changes only through services."""

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from devices.admin.base import EachMixin, RecordAdmin
from devices.models import Surgery, TrajectoryChunk
from devices.services.surgeries import complete_interrupted
from devices.verification import verify_apart
from realtime.core.errors import Failure

PREVIEW_BYTES = 400


@admin.register(Surgery)
class SurgeryAdmin(EachMixin, RecordAdmin):
    list_display = (
        "id",
        "surgeon",
        "status",
        "started_at",
        "duration_seconds",
        "movements",
        "score",
    )
    list_filter = ("status", "started_at", "analysed_at")
    list_select_related = ("surgeon",)
    search_fields = ("id__startswith", "surgeon__username", "notes")
    date_hierarchy = "started_at"
    actions = ("complete", "verify")
    fieldsets = (
        (None, {"fields": ("id", "surgeon", "status", "notes")}),
        ("Course", {"fields": ("started_at", "ended_at", "duration_seconds", "movements")}),
        ("Analysis", {"fields": ("score", "feedback", "analysed_at")}),
        ("Recording", {"fields": ("recording", "claimed", "node", "disconnected_at", "digest")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: object = None) -> list[str]:
        return [field.name for field in Surgery._meta.fields if field.name != "notes"]

    def save_model(self, request: HttpRequest, obj: Surgery, form: ModelForm, change: bool) -> None:
        """Save what the form changed and nothing else: the rest of the page may be stale."""
        if form.changed_data:
            obj.save(update_fields=form.changed_data)

    @admin.action(description="Complete interrupted operation", permissions=["change"])
    def complete(self, request: HttpRequest, surgeries: QuerySet[Surgery]) -> None:
        def complete_one(surgery: Surgery) -> str:
            done = complete_interrupted(surgery_id=surgery.id, by=request.user.get_username())
            return f"completed with {done.movements} movements"

        self.each(request, surgeries, complete_one)

    @admin.action(description="Verify trajectory", permissions=["view"])
    def verify(self, request: HttpRequest, surgeries: QuerySet[Surgery]) -> None:
        def verify_one(surgery: Surgery) -> str:
            proof = verify_apart(surgery)
            if not proof.holds:
                raise Failure(proof.problem)
            return f"all {proof.chunks} chunks hold"

        self.each(request, surgeries, verify_one, is_change=False)


@admin.register(TrajectoryChunk)
class TrajectoryChunkAdmin(RecordAdmin):
    list_display = ("surgery", "seq", "first", "count", "received_at", "digest")
    search_fields = ("surgery__id__startswith", "digest__startswith")
    list_select_related = ("surgery",)
    ordering = ("-id",)
    fields = ("surgery", "seq", "first", "count", "received_at", "digest", "preview")
    readonly_fields = fields
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[TrajectoryChunk]:
        return super().get_queryset(request).defer("payload")

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    @admin.display(description="payload")
    def preview(self, chunk: TrajectoryChunk) -> str:
        payload = bytes(chunk.payload)
        text = payload[:PREVIEW_BYTES].decode(errors="replace")
        return text if len(payload) <= PREVIEW_BYTES else f"{text}… ({len(payload)} bytes)"
