"""What devices measured, for looking at: lists stay quick whatever the number of rows."""

from datetime import datetime

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest

from devices.admin.base import HistoryAdmin
from devices.admin.links import link_to
from devices.models import Reading, Rollup, Series

OF_SERIES = "series__id__exact"


@admin.register(Series)
class SeriesAdmin(HistoryAdmin):
    """The way to the readings: they are too many to be searched."""

    list_display = ("device", "metric", "last_value", "last_at", "readings")
    list_display_links = ("metric",)
    list_filter = ("metric",)
    list_select_related = ("device",)
    search_fields = ("metric", "device__name", "device__external_id")
    fields = ("device", "metric", "unit", "last_value", "last_at", "readings")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Series]:
        newest = Reading.objects.filter(series=OuterRef("pk")).order_by("-at")
        return (
            super()
            .get_queryset(request)
            .annotate(
                newest_value=Subquery(newest.values("value")[:1]),
                newest_at=Subquery(newest.values("at")[:1]),
            )
        )

    @admin.display(description="last value")
    def last_value(self, series: Series) -> str | None:
        if series.newest_value is None:
            return None
        return f"{series.newest_value:g} {series.unit}".rstrip()

    @admin.display(description="at")
    def last_at(self, series: Series) -> datetime | None:
        return series.newest_at

    @admin.display(description="more")
    def readings(self, series: Series) -> str:
        return link_to("readings", "reading", **{OF_SERIES: series.pk})


class OfSeriesAdmin(HistoryAdmin):
    """Rows of one series in the order of their time; without one the newest rows.

    No other order or filter has an index.
    """

    list_select_related = ("series__device",)
    sortable_by = ()
    moment = ""

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        if OF_SERIES in request.GET:
            return ("-series_id", f"-{self.moment}")
        return ("-id",)

    @admin.display(description="device")
    def device(self, row: Reading | Rollup) -> str:
        return str(row.series.device)

    @admin.display(description="metric")
    def metric(self, row: Reading | Rollup) -> str:
        return row.series.metric


@admin.register(Reading)
class ReadingAdmin(OfSeriesAdmin):
    moment = "at"
    list_display = ("measured_at", "device", "metric", "measured", "arrived_at", "is_skewed")
    fields = (
        "device",
        "metric",
        "measured",
        "measured_at",
        "arrived_at",
        "is_skewed",
        "message_id",
    )

    @admin.display(description="value")
    def measured(self, reading: Reading) -> str:
        return str(reading)

    @admin.display(description="at")
    def measured_at(self, reading: Reading) -> datetime:
        return reading.at

    @admin.display(description="received")
    def arrived_at(self, reading: Reading) -> datetime:
        return reading.received_at


@admin.register(Rollup)
class RollupAdmin(OfSeriesAdmin):
    moment = "hour"
    list_display = ("began_at", "device", "metric", "count", "low", "mean", "high")
    fields = ("device", "metric", "began_at", "count", "low", "mean", "high")

    @admin.display(description="hour")
    def began_at(self, rollup: Rollup) -> datetime:
        return rollup.hour
