"""The demo accounts: everyone who is promised, once, and never by accident in production."""

import pytest
from django.core.management import CommandError, call_command

from accounts import roles
from accounts.models import User
from devices.models import Surgery

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


def test_it_refuses_in_production(settings):
    settings.DEBUG = False
    with pytest.raises(CommandError, match="--yes-in-production"):
        call_command("seed_demo")
    assert not User.objects.exists()


def test_it_obeys_in_production_when_told_twice(settings):
    settings.DEBUG = False
    call_command("seed_demo", "--yes-in-production", verbosity=0)
    assert User.objects.filter(username="admin").exists()
