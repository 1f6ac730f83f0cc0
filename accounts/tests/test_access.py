"""accounts/access.py: a token against its account, and roles against rights."""

import logging
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from accounts import roles, services, tokens
from accounts.access import Right, find_recipient, may, principal_again, principal_for_token
from accounts.models import Role, User
from accounts.tests.forge import document_claims, forge
from accounts.tokens import BadToken, TokenProblem

MakeUser = Callable[..., User]


def problem_of(token: str) -> TokenProblem:
    with pytest.raises(BadToken) as refusal:
        principal_for_token(token)
    return refusal.value.problem


def test_principal_has_the_rights_of_the_role(surgeon: User) -> None:
    principal = principal_for_token(tokens.issue_access(surgeon))
    assert principal.user_id == surgeon.pk
    assert principal.username == "surgeon_master"
    assert principal.role == roles.SURGEON
    assert principal.may_open("simulation")
    assert not principal.may_open("ai")
    assert "own:surgeries.**" in principal.subscribe
    assert principal.publish == ("chat.**", "updates.broadcast")
    assert principal.expires_at - principal.issued_at == timedelta(days=1)


def test_documents_token_with_an_alias_is_good(surgeon: User) -> None:
    token = forge(document_claims(surgeon, role="ROLE_CIRUJANO"))
    assert principal_for_token(token).role == roles.SURGEON


def test_one_query_is_enough(surgeon: User, django_assert_num_queries: Callable) -> None:
    token = tokens.issue_access(surgeon)
    with django_assert_num_queries(1):
        principal_for_token(token)


def test_unknown_user_is_refused(surgeon: User) -> None:
    token = forge(document_claims(surgeon, userId=str(uuid4())))
    assert problem_of(token) == TokenProblem.UNKNOWN_USER


def test_name_of_another_account_is_refused(surgeon: User) -> None:
    token = forge(document_claims(surgeon, sub="admin"))
    assert problem_of(token) == TokenProblem.UNKNOWN_USER


def test_deleted_user_is_refused(surgeon: User) -> None:
    token = tokens.issue_access(surgeon)
    surgeon.delete()
    assert problem_of(token) == TokenProblem.UNKNOWN_USER


def test_inactive_user_is_refused(surgeon: User) -> None:
    token = tokens.issue_access(surgeon)
    services.deactivate_user(surgeon)
    assert problem_of(token) == TokenProblem.INACTIVE_USER


@pytest.mark.parametrize("role", [roles.ADMIN, "ROLE_IA", "ROLE_NOBODY"])
def test_role_that_the_account_does_not_have_is_refused(surgeon: User, role: str) -> None:
    assert problem_of(forge(document_claims(surgeon, role=role))) == TokenProblem.ROLE_MISMATCH


def test_role_changed_since_is_refused(surgeon: User) -> None:
    token = tokens.issue_access(surgeon)
    services.change_role(surgeon, roles.MEMBER)
    assert problem_of(token) == TokenProblem.ROLE_MISMATCH


def test_revoked_token_is_refused_and_others_are_not(surgeon: User) -> None:
    one, other = tokens.issue_access(surgeon), tokens.issue_access(surgeon)
    principal = principal_for_token(one)
    services.revoke_token(principal.token_id, user=surgeon, expires_at=principal.expires_at)
    assert problem_of(one) == TokenProblem.REVOKED
    assert principal_for_token(other)


def test_documents_token_without_an_id_can_be_revoked(surgeon: User) -> None:
    token = forge(document_claims(surgeon))
    principal = principal_for_token(token)
    services.revoke_token(principal.token_id, user=surgeon, expires_at=principal.expires_at)
    assert problem_of(token) == TokenProblem.REVOKED


def test_token_older_than_the_account_allows_is_refused(surgeon: User) -> None:
    earlier = timezone.now() - timedelta(hours=1)
    token = tokens.issue_access(surgeon, now=earlier)
    assert problem_of(token) == TokenProblem.REVOKED


def test_token_of_the_second_of_creation_is_good(surgeon: User) -> None:
    assert principal_for_token(tokens.issue_access(surgeon, now=surgeon.tokens_valid_from))


def test_refresh_token_opens_nothing(surgeon: User) -> None:
    assert problem_of(tokens.issue_refresh(surgeon)) == TokenProblem.WRONG_KIND


def test_expired_token_is_refused_at_the_time_passed_in(surgeon: User) -> None:
    token = tokens.issue_access(surgeon)
    with pytest.raises(BadToken) as refusal:
        principal_for_token(token, now=timezone.now() + timedelta(days=2))
    assert refusal.value.public_text == "token expired"


def test_log_names_the_reason_and_not_the_token(
    surgeon: User, caplog: pytest.LogCaptureFixture
) -> None:
    token = tokens.issue_access(surgeon)
    services.revoke_all_tokens(surgeon)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "vitalwire.accounts"), pytest.raises(BadToken):
        principal_for_token(token)
    assert caplog.messages == ["token refused: revoked"]
    assert token not in caplog.text


@pytest.mark.parametrize("token", ["\ud800", "a\nb.c.d", "x" * 5000])
def test_log_of_garbage_is_one_short_line(token: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "vitalwire.accounts"), pytest.raises(BadToken):
        principal_for_token(token)
    assert caplog.messages == ["token refused: malformed"]


# --- an open connection, again --------------------------------------------------------


def test_open_connection_gets_the_new_role(surgeon: User) -> None:
    principal = principal_for_token(tokens.issue_access(surgeon))
    services.change_role(surgeon, roles.MEMBER)
    again = principal_again(principal)
    assert again.role == roles.MEMBER
    assert not again.may_open("simulation")
    assert again.token_id == principal.token_id
    assert again.expires_at == principal.expires_at


def test_open_connection_gets_what_its_role_has_become(surgeon: User) -> None:
    principal = principal_for_token(tokens.issue_access(surgeon))
    role = Role.objects.get(name=roles.SURGEON)
    role.endpoints = ["simulation"]
    role.save()
    assert principal_again(principal).endpoints == {"simulation"}


def test_open_connection_of_a_deactivated_user_is_refused(surgeon: User) -> None:
    principal = principal_for_token(tokens.issue_access(surgeon))
    services.deactivate_user(surgeon)
    with pytest.raises(BadToken, match="inactive_user"):
        principal_again(principal)


def test_open_connection_of_a_deleted_user_is_refused(surgeon: User) -> None:
    principal = principal_for_token(tokens.issue_access(surgeon))
    surgeon.delete()
    with pytest.raises(BadToken, match="unknown_user"):
        principal_again(principal)


def test_open_connection_with_a_revoked_token_is_refused(surgeon: User) -> None:
    principal = principal_for_token(tokens.issue_access(surgeon))
    services.revoke_token(principal.token_id, user=surgeon, expires_at=principal.expires_at)
    with pytest.raises(BadToken, match="revoked"):
        principal_again(principal)


def test_open_connection_is_refused_when_all_tokens_were_revoked(surgeon: User) -> None:
    principal = principal_for_token(tokens.issue_access(surgeon))
    services.revoke_all_tokens(surgeon)
    with pytest.raises(BadToken, match="revoked"):
        principal_again(principal)


# --- rights ---------------------------------------------------------------------------

EXPECTED = {
    Right.READ_ALL_SURGERIES: {roles.AI, roles.OPERATOR, roles.VIEWER, roles.ADMIN},
    Right.READ_OWN_SURGERIES: {roles.SURGEON},
    Right.POST_ANALYSIS: {roles.AI, roles.ADMIN},
    Right.MANAGE_SURGERIES: {roles.ADMIN},
    Right.SEE_DASHBOARD: {roles.SURGEON, roles.OPERATOR, roles.VIEWER, roles.ADMIN},
    Right.OPERATE_SIMULATOR: {roles.SURGEON},
    Right.MANAGE_USERS: {roles.ADMIN},
    Right.READ_DEVICES: {roles.OPERATOR, roles.VIEWER, roles.ADMIN},
    Right.MANAGE_DEVICES: {roles.OPERATOR, roles.ADMIN},
    Right.REPORT_OWN_READINGS: {roles.DEVICE},
}


@pytest.mark.parametrize("role", sorted(roles.SHIPPED_NAMES))
def test_each_shipped_role_has_its_rights_and_no_others(make_user: MakeUser, role: str) -> None:
    user = make_user("somebody", role)
    principal = principal_for_token(tokens.issue_access(user))
    for right, holders in EXPECTED.items():
        assert may(user, right) == may(principal, right) == (role in holders), right


def test_every_right_is_decided() -> None:
    assert set(EXPECTED) == set(Right)


def test_role_of_ones_own_operates_with_its_endpoint(make_user: MakeUser) -> None:
    Role.objects.create(name="ROLE_TRAINEE", endpoints=["simulation"])
    trainee = make_user("trainee", "ROLE_TRAINEE")
    assert may(trainee, Right.OPERATE_SIMULATOR)
    assert not may(trainee, Right.READ_ALL_SURGERIES)


def test_nobody_and_the_deactivated_may_nothing(administrator: User) -> None:
    administrator.is_active = False
    for right in Right:
        assert not may(AnonymousUser(), right)
        assert not may(administrator, right)


def test_a_direct_message_is_for_who_has_that_id_or_name(make_user: MakeUser) -> None:
    bea = make_user("bea", role=roles.MEMBER)
    assert find_recipient("bea") == find_recipient(str(bea.pk)) == bea.pk
    for nobody in ("", "BEA", "nul\0", str(uuid4())):
        assert find_recipient(nobody) is None


def test_nobody_gets_another_s_messages_by_their_name(make_user: MakeUser) -> None:
    bea = make_user("bea", role=roles.MEMBER)
    make_user(str(bea.pk), role=roles.MEMBER)
    assert find_recipient(str(bea.pk)) == bea.pk


def test_who_could_never_read_it_gets_no_direct_message(make_user: MakeUser) -> None:
    make_user("sensor", role=roles.DEVICE)
    make_user("gone", role=roles.MEMBER, is_active=False)
    assert find_recipient("sensor") is None
    assert find_recipient("gone") is None
