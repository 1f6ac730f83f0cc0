"""The demo: everyone and everything that is promised, once, and never by accident in production."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import roles
from accounts.access import principal_for_token
from accounts.models import User
from devices.models import Alert, AlertRule, Device, Reading, Surgery
from devices.services.devices import retire_device

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def development(settings):
    settings.DEBUG = True


def test_every_promised_user_has_its_role_and_password():
    call_command("seed_demo", verbosity=0)
    promised = {
        ("admin", "admin"): roles.ADMIN,
        ("operator", "operator"): roles.OPERATOR,
        ("surgeon_master", "justina2024"): roles.SURGEON,
        ("ia_justina", "ia_secret_2024"): roles.AI,
        ("root", "root"): roles.ADMIN,
        ("guest", "guest"): roles.MEMBER,
    }
    for (username, password), role in promised.items():
        user = User.objects.get(username=username)
        assert user.role_id == role
        assert user.check_password(password)


def test_administrators_may_do_everything_in_the_admin():
    call_command("seed_demo", verbosity=0)
    assert User.objects.get(username="admin").is_superuser
    assert not User.objects.get(username="surgeon_master").is_staff


def test_seeding_again_changes_nothing(capsys):
    call_command("seed_demo")
    admin = User.objects.get(username="admin")
    admin.set_password("a better one")
    admin.save()
    call_command("seed_demo")
    assert "nothing" in capsys.readouterr().out
    assert User.objects.get(username="admin").check_password("a better one")


def test_no_surgery_waits_for_an_analysis():
    call_command("seed_demo", verbosity=0)
    assert not Surgery.objects.filter(analysed_at=None).exists()


def test_the_devices_of_the_document_are_there_with_a_day_of_readings():
    call_command("seed_demo", verbosity=0)
    devices = {device.external_id: device for device in Device.objects.all()}
    assert devices.keys() == {
        "TEMP-001",
        "PRESS-002",
        "FLOW-003",
        "VOLT-004",
        "HUMID-005",
        "THIS-MACHINE",
    }
    alpha = devices["TEMP-001"]
    assert (alpha.name, alpha.device_type) == ("Temperature Sensor Alpha", "sensor")
    assert (alpha.manufacturer, alpha.model) == ("SensorTech", "ST-T1000")
    assert (alpha.firmware_version, alpha.location) == ("2.1.4", "Zone A - Server Room")
    statuses = {name: device.status for name, device in devices.items()}
    assert statuses == {
        "TEMP-001": "online",
        "PRESS-002": "online",
        "FLOW-003": "warning",
        "VOLT-004": "offline",
        "HUMID-005": "online",
        "THIS-MACHINE": "offline",
    }
    assert devices["THIS-MACHINE"].device_type == "server"
    readings = Reading.objects.filter(series__device=alpha, series__metric="temperature")
    values = list(readings.values_list("value", flat=True))
    assert len(values) == 24
    assert 18 <= min(values) < max(values) <= 28
    assert set(devices["FLOW-003"].series.values_list("metric", "unit")) == {
        ("flow_rate", "L/min"),
        ("position", "%"),
        ("power_consumption", "W"),
        ("efficiency", "%"),
    }


def test_every_demo_device_can_sign_in():
    call_command("seed_demo", verbosity=0)
    for device in Device.objects.select_related("account"):
        account = device.account
        assert (account.username, account.role_id) == (f"device-{device.pk}", roles.DEVICE)
        assert account.check_password(f"{device.device_type}_secret")
        out = StringIO()
        call_command("issue_token", account.username, stdout=out)
        assert principal_for_token(out.getvalue().strip()).user_id == account.pk


def test_the_rules_of_the_document_are_there_and_nothing_is_open():
    call_command("seed_demo", verbosity=0)
    rules = AlertRule.objects.values_list(
        "device_type", "metric", "condition", "threshold", "severity"
    )
    assert set(rules) == {
        ("sensor", "temperature", "gt", 30.0, "warning"),
        ("sensor", "battery_level", "lt", 20.0, "critical"),
        ("", "connectivity", "eq", 0.0, "critical"),
    }
    for rule in AlertRule.objects.all():
        rule.full_clean()
    assert not Alert.objects.exists()


def test_a_device_and_a_rule_keep_what_was_made_of_them(capsys):
    call_command("seed_demo")
    device = Device.objects.get(external_id="TEMP-001")
    retire_device(device.pk, now=timezone.now())
    AlertRule.objects.filter(metric="temperature").update(threshold=35)
    capsys.readouterr()
    call_command("seed_demo")
    assert "nothing" in capsys.readouterr().out
    device.refresh_from_db()
    assert not device.is_active
    assert AlertRule.objects.get(metric="temperature").threshold == 35
    assert Device.objects.count() == 6


def test_it_refuses_in_production(settings):
    settings.DEBUG = False
    with pytest.raises(CommandError, match="--yes-in-production"):
        call_command("seed_demo")
    assert not User.objects.exists()
    assert not Device.objects.exists()


def test_it_obeys_in_production_when_told_twice(settings):
    settings.DEBUG = False
    call_command("seed_demo", "--yes-in-production", verbosity=0)
    assert User.objects.filter(username="admin").exists()
