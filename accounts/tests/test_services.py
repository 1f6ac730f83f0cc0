"""accounts/services.py: every write, and what it refuses."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from axes.models import AccessLog
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone

from accounts import roles, services, tokens
from accounts.access import account_for_refresh, principal_for_token
from accounts.models import RevokedToken, User
from accounts.tokens import BadToken
from realtime.core.errors import Conflict, NotFound


def test_registering_makes_a_surgeon(db: None) -> None:
    user = services.register_user("Ana María", "secreto")
    assert user.role_id == roles.SURGEON
    assert user.check_password("secreto")
    assert user.is_active


def test_taken_name_is_a_conflict(surgeon: User) -> None:
    with pytest.raises(Conflict, match="taken"):
        services.register_user("surgeon_master", "secreto")
    assert User.objects.count() == 1


def test_login_gives_a_token_and_one_to_renew_it(surgeon: User) -> None:
    pair = services.login_tokens(surgeon)
    assert principal_for_token(pair.access).user_id == surgeon.pk
    assert account_for_refresh(pair.refresh)[0] == surgeon
    assert pair.lifetime == timedelta(days=1)


def test_tokens_are_not_in_the_repr_of_a_login(surgeon: User) -> None:
    pair = services.login_tokens(surgeon)
    assert pair.access not in repr(pair)
    assert pair.refresh not in repr(pair)


def test_refresh_token_is_spent_by_its_use(surgeon: User) -> None:
    first = services.login_tokens(surgeon)
    user, second = services.rotate_refresh(first.refresh)
    assert user == surgeon
    assert principal_for_token(second.access)
    with pytest.raises(BadToken, match="revoked"):
        services.rotate_refresh(first.refresh)
    assert services.rotate_refresh(second.refresh)


def test_refresh_token_of_a_changed_role_is_refused(surgeon: User) -> None:
    pair = services.login_tokens(surgeon)
    services.change_role(surgeon, roles.MEMBER)
    with pytest.raises(BadToken, match="role_mismatch"):
        services.rotate_refresh(pair.refresh)


def test_expired_refresh_token_is_refused(surgeon: User) -> None:
    pair = services.login_tokens(surgeon)
    with pytest.raises(BadToken, match="expired"):
        services.rotate_refresh(pair.refresh, now=timezone.now() + timedelta(days=8))


@pytest.mark.django_db(transaction=True)
def test_two_at_once_with_one_refresh_token_get_one_pair() -> None:
    refresh = services.login_tokens(User.objects.create_user("surgeon_master")).refresh
    start = threading.Barrier(2)
    answers: list[object] = []

    def rotate() -> None:
        start.wait()
        try:
            answers.append(services.rotate_refresh(refresh))
        except BadToken as error:
            answers.append(error.problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=rotate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(isinstance(answer, tuple) for answer in answers) == [False, True]


def test_revoking_all_ends_older_tokens_only(surgeon: User) -> None:
    old = services.login_tokens(surgeon)
    account = services.revoke_all_tokens(surgeon)
    for read, token in ((principal_for_token, old.access), (account_for_refresh, old.refresh)):
        with pytest.raises(BadToken, match="revoked"):
            read(token)
    assert principal_for_token(tokens.issue_access(account))


def test_revoking_all_again_ends_what_was_issued_between(surgeon: User) -> None:
    now = timezone.now()
    account = services.revoke_all_tokens(surgeon, now=now)
    between = tokens.issue_access(account, now=now)
    services.revoke_all_tokens(surgeon, now=now)
    with pytest.raises(BadToken, match="revoked"):
        principal_for_token(between)


def test_own_refresh_token_is_revoked_and_a_foreign_one_is_not(
    surgeon: User, make_user: Callable[..., User]
) -> None:
    other = services.login_tokens(make_user("other"))
    own = services.login_tokens(surgeon)
    for refresh in (other.refresh, own.refresh, own.access, "garbage"):
        services.revoke_refresh(refresh, user=surgeon)
    assert account_for_refresh(other.refresh)
    assert principal_for_token(own.access)
    with pytest.raises(BadToken, match="revoked"):
        account_for_refresh(own.refresh)


def test_role_can_be_given_by_its_alias(surgeon: User) -> None:
    assert services.change_role(surgeon, "ROLE_IA").role_id == roles.AI


def test_role_that_does_not_exist_is_not_found(surgeon: User) -> None:
    with pytest.raises(NotFound, match="ROLE_NOBODY"):
        services.change_role(surgeon, "ROLE_NOBODY")


def test_stale_instance_does_not_undo_what_others_changed(surgeon: User) -> None:
    stale = User.objects.get(pk=surgeon.pk)
    services.change_role(surgeon, roles.MEMBER)
    services.deactivate_user(stale)
    surgeon.refresh_from_db()
    assert surgeon.role_id == roles.MEMBER
    assert not surgeon.is_active


def test_what_no_longer_matters_is_deleted_and_nothing_else(surgeon: User) -> None:
    now = timezone.now()
    for name, expires_at in (("old", now - timedelta(days=1)), ("new", now + timedelta(days=1))):
        services.revoke_token(name, user=surgeon, expires_at=expires_at)
        Session.objects.create(session_key=name, session_data="", expire_date=expires_at)
    long_past = AccessLog.objects.create(username="past")
    AccessLog.objects.filter(pk=long_past.pk).update(attempt_time=now - timedelta(days=91))
    AccessLog.objects.create(username="present")
    services.prune(now=now)
    assert list(RevokedToken.objects.values_list("token_id", flat=True)) == ["new"]
    assert list(Session.objects.values_list("session_key", flat=True)) == ["new"]
    assert list(AccessLog.objects.values_list("username", flat=True)) == ["present"]
