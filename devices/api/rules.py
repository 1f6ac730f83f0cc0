"""Alert rules over REST: listed, edited, tried on a value and on the last hour."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.utils import timezone
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from devices import access
from devices.api.base import (
    DeviceView,
    checked_body,
    checked_query,
    described,
    device_in_path,
    number_in_path,
)
from devices.api.bodies.alerts import alert_item
from devices.api.bodies.common import page_of
from devices.api.bodies.rules import (
    COLUMNS,
    CheckAnswer,
    NewRule,
    PreviewAnswer,
    RuleChange,
    RuleChangePreview,
    RuleItem,
    RulePreview,
    RulesQuery,
    RuleTrial,
    TriedValue,
    columns_of,
    preview_item,
    rule_item,
)
from devices.models import AlertRule
from devices.rules import HOLDS, Condition, title_of
from devices.services.alerts import NO_SUCH_RULE
from devices.services.previews import preview_rule
from devices.services.rule_checks import check_device
from devices.services.rule_edits import add_rule, change_rule, delete_rule, draft_rule
from devices.services.rules import compiled
from realtime.core.errors import Invalid

NOT_TRIGGERED = "The condition does not hold"
THEIRS = {ours: theirs for theirs, ours in COLUMNS.items()}


class RuleList(DeviceView):
    """The rules in force."""

    @described("rules_list", tag="rules", query=RulesQuery, answer=RuleItem(many=True))
    def get(self, request: Request) -> Response:
        wanted = checked_query(RulesQuery, request)
        page = {name: wanted.pop(name) for name in ("skip", "limit")}
        rules = access.rules_visible_to(request.auth).filter(**wanted)
        return Response([rule_item(rule) for rule in page_of(rules, **page)])

    @described(
        "rule_create", tag="rules", body=NewRule, answer=RuleItem, code=201, refusals=[404, 422]
    )
    def post(self, request: Request) -> Response:
        """Add a rule; it is in force everywhere within a second."""
        columns = columns_of(checked_body(NewRule, request))
        with _their_words():
            rule = add_rule(**columns)
        return Response(rule_item(rule), status.HTTP_201_CREATED)


class RuleDetail(DeviceView):
    """One rule."""

    @described("rule", tag="rules", path=["rule_id"], answer=RuleItem)
    def get(self, request: Request, rule_id: str) -> Response:
        return Response(rule_item(access.access_rule(request.auth, _number(rule_id))))

    @described("rule_update", tag="rules", path=["rule_id"], body=RuleChange, answer=RuleItem)
    def put(self, request: Request, rule_id: str) -> Response:
        """Change what is given; the rest stays as it is."""
        rule = access.access_rule(request.auth, _number(rule_id), to_write=True)
        columns = columns_of(checked_body(RuleChange, request))
        with _their_words():
            changed = change_rule(rule.pk, **columns)
        return Response(rule_item(changed))

    @described("rule_delete", tag="rules", path=["rule_id"], code=204)
    def delete(self, request: Request, rule_id: str) -> Response:
        """Delete a rule; the alerts it raised stay."""
        delete_rule(access.access_rule(request.auth, _number(rule_id), to_write=True).pk)
        return Response(status=status.HTTP_204_NO_CONTENT)


class RuleTest(DeviceView):
    @described("rule_test", tag="rules", path=["rule_id"], body=TriedValue, answer=RuleTrial)
    def post(self, request: Request, rule_id: str) -> Response:
        """Say whether the condition holds for a value; of "absent" it is the seconds of silence."""
        rule = access.access_rule(request.auth, _number(rule_id))
        value = checked_body(TriedValue, request)["test_value"]
        triggered = _holds(rule, value)
        return Response(
            {
                "rule_id": rule.pk,
                "test_value": value,
                "condition": rule.condition,
                "threshold_value": rule.threshold,
                "triggered": triggered,
                "message": title_of(compiled(rule)) if triggered else NOT_TRIGGERED,
            }
        )


class NewRulePreview(DeviceView):
    @described(
        "rule_preview",
        tag="rules",
        body=RulePreview,
        answer=PreviewAnswer,
        refusals=[404, 422, 503],
    )
    def post(self, request: Request) -> Response:
        """Say what a rule that is not there yet would have raised on the stored readings."""
        body = checked_body(RulePreview, request)
        return _previewed(None, body)


class RuleChangedPreview(DeviceView):
    @described(
        "rule_change_preview",
        tag="rules",
        path=["rule_id"],
        body=RuleChangePreview,
        answer=PreviewAnswer,
        refusals=[503],
    )
    def post(self, request: Request, rule_id: str) -> Response:
        """Say what a changed rule would have raised, beside what today's would have."""
        rule = access.access_rule(request.auth, _number(rule_id))
        body = checked_body(RuleChangePreview, request)
        return _previewed(rule, body)


class DeviceCheck(DeviceView):
    @described("alerts_check", tag="rules", path=["device_id"], answer=CheckAnswer)
    def post(self, request: Request, device_id: str) -> Response:
        """Judge the last hour of a device now, and raise what is not raised yet."""
        device = device_in_path(request, device_id)
        checked = check_device(device, now=timezone.now())
        return Response(
            {
                "device_id": device.pk,
                "telemetry_points_checked": checked.readings,
                "new_alerts_created": len(checked.alerts),
                "alerts": [alert_item(each) for each in checked.alerts],
            }
        )


def _previewed(rule: AlertRule | None, body: dict[str, Any]) -> Response:
    hours = body.pop("hours")
    with _their_words():
        draft = draft_rule(rule, **columns_of(body))
    return Response(preview_item(preview_rule(draft, now=timezone.now(), hours=hours)))


def _holds(rule: AlertRule, value: float) -> bool:
    if rule.condition == AlertRule.Condition.ABSENT:
        return value >= rule.threshold
    return HOLDS[Condition(rule.condition)](value, rule.threshold)


def _number(rule_id: str) -> int:
    return number_in_path(rule_id, "rule_id", NO_SUCH_RULE)


@contextmanager
def _their_words() -> Iterator[None]:
    """Let a refusal name the field as the client does."""
    try:
        yield
    except Invalid as error:
        raise Invalid(str(error), field=THEIRS.get(error.field, error.field)) from error
