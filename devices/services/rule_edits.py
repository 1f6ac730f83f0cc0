"""Alert rules drafted, added, changed and deleted: one verb per function, one transaction each.

Every process hears of it through the journal and judges by the new rule from then on.
"""

import logging
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from devices.models import AlertRule, Device
from devices.services.alerts import NO_SUCH_RULE
from devices.services.rows import NO_SUCH_DEVICE
from realtime.core.errors import Invalid, NotFound

log = logging.getLogger("vitalwire.rules")


def draft_rule(rule: AlertRule | None = None, **columns: Any) -> AlertRule:
    """Return a rule as it would be, without saving it; a new one when none is given.

    Raises NotFound for its device, and Invalid for what makes no sense.
    """
    draft = AlertRule() if rule is None else rule
    for name, value in columns.items():
        setattr(draft, name, value)
    if draft.device_id is not None and not _is_in_service(draft.device_id):
        raise NotFound(NO_SUCH_DEVICE)
    try:
        draft.clean()
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise Invalid(messages[0], field=field) from error
    return draft


@transaction.atomic
def add_rule(**columns: Any) -> AlertRule:
    """Store a new rule. Raises what `draft_rule` raises."""
    rule = draft_rule(**columns)
    rule.save(force_insert=True)
    log.info("rule %d added", rule.pk)
    return rule


@transaction.atomic
def change_rule(rule_id: int, **columns: Any) -> AlertRule:
    """Change some columns of a rule. Raises NotFound, and what `draft_rule` raises."""
    rule = _locked(rule_id)
    changed = {name: value for name, value in columns.items() if getattr(rule, name) != value}
    if changed:
        draft_rule(rule, **changed).save(update_fields=[*changed, "updated_at"])
        log.info("rule %d changed: %s", rule_id, ", ".join(sorted(changed)))
    return rule


@transaction.atomic
def delete_rule(rule_id: int) -> None:
    """Delete a rule; the alerts it raised stay. Raises NotFound."""
    _locked(rule_id).delete()
    log.info("rule %d deleted", rule_id)


def _locked(rule_id: int) -> AlertRule:
    try:
        return AlertRule.objects.select_for_update().get(pk=rule_id)
    except AlertRule.DoesNotExist:
        raise NotFound(NO_SUCH_RULE) from None


def _is_in_service(device_id: int) -> bool:
    return Device.objects.filter(pk=device_id, is_active=True).exists()
