"""accounts/tokens.py: what is issued, what is read, and every refusal by its own name."""

import base64
import json
import string
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import roles
from accounts.models import Role, User
from accounts.tests.forge import b64, document_claims, forge
from accounts.tokens import (
    BadToken,
    TokenProblem,
    issue_access,
    issue_refresh,
    read_access,
    read_refresh,
)

NOW = datetime(2026, 3, 5, 10, 30, tzinfo=UTC)
USER = User(
    id=UUID("550e8400-e29b-41d4-a716-446655440000"),
    username="surgeon_master",
    role=Role(name=roles.SURGEON),
    tokens_valid_from=NOW - timedelta(days=30),
)


def payload_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def problem_of(token: str, now: datetime = NOW) -> TokenProblem:
    with pytest.raises(BadToken) as refusal:
        read_access(token, now=now)
    return refusal.value.problem


def claims(**changes: Any) -> dict[str, Any]:
    return document_claims(USER, NOW, **changes)


# --- issued ---------------------------------------------------------------------------


def test_access_token_has_the_documents_claims_and_an_id() -> None:
    payload = payload_of(issue_access(USER, now=NOW))
    assert payload.pop("jti")
    assert payload == {
        "iss": "Justina_Backend",
        "sub": "surgeon_master",
        "userId": "550e8400-e29b-41d4-a716-446655440000",
        "role": "ROLE_SURGEON",
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 86_400,
    }


def test_header_names_the_algorithm() -> None:
    header = issue_access(USER, now=NOW).split(".")[0]
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {"typ": "JWT", "alg": "HS256"}


def test_issued_token_is_read_back() -> None:
    read = read_access(issue_access(USER, now=NOW), now=NOW)
    assert (read.username, read.user_id, read.role) == (USER.username, USER.pk, roles.SURGEON)
    assert (read.issued_at, read.expires_at) == (NOW, NOW + timedelta(days=1))


def test_two_tokens_of_the_same_second_have_their_own_ids() -> None:
    one, other = (read_access(issue_access(USER, now=NOW), now=NOW) for _ in range(2))
    assert one.token_id != other.token_id


def test_device_token_lives_for_a_year() -> None:
    device = User(username="pump", role=Role(name=roles.DEVICE), tokens_valid_from=NOW)
    read = read_access(issue_access(device, now=NOW), now=NOW)
    assert read.expires_at == NOW + timedelta(days=365)


def test_lifetime_can_be_chosen() -> None:
    read = read_access(issue_access(USER, lifetime=timedelta(seconds=5), now=NOW), now=NOW)
    assert read.expires_at == NOW + timedelta(seconds=5)


def test_token_made_in_the_second_of_a_revocation_is_dated_after_it() -> None:
    user = User(username="surgeon", role=Role(name=roles.SURGEON))
    user.tokens_valid_from = NOW + timedelta(seconds=1)
    just_after = NOW + timedelta(milliseconds=500)
    read = read_access(issue_access(user, now=just_after), now=just_after)
    assert read.issued_at == user.tokens_valid_from


# --- accepted -------------------------------------------------------------------------


def test_documents_claims_alone_are_good() -> None:
    token = forge(claims())
    read = read_access(token, now=NOW)
    assert read.user_id == USER.pk
    assert read.token_id.startswith("sha256:")
    assert read.token_id == read_access(token, now=NOW).token_id
    assert token not in read.token_id


@pytest.mark.parametrize(
    ("alias", "role"), [("ROLE_CIRUJANO", roles.SURGEON), ("ROLE_IA", roles.AI)]
)
def test_alias_of_a_role_is_resolved(alias: str, role: str) -> None:
    assert read_access(forge(claims(role=alias)), now=NOW).role == role


def test_issuer_half_a_minute_ahead_is_allowed() -> None:
    ahead = int(NOW.timestamp()) + 30
    assert read_access(forge(claims(iat=ahead, nbf=ahead)), now=NOW)


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "../../../dev/null"},
        {"kid": "x' UNION SELECT 'key"},
        {"jku": "http://127.0.0.1:1/keys"},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
    ],
)
def test_key_hints_in_the_header_change_nothing(header: dict[str, Any]) -> None:
    good = {"alg": "HS256", **header}
    assert read_access(forge(claims(), header=good), now=NOW)
    assert problem_of(forge(claims(), header=good, key="0" * 32)) == TokenProblem.BAD_SIGNATURE


# --- refused --------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", "HS512", "RS256", "ES256", "PS256"])
def test_another_algorithm_is_refused_even_with_our_signature(alg: str) -> None:
    assert problem_of(forge(claims(), header={"alg": alg})) == TokenProblem.BAD_ALGORITHM


def test_unsigned_token_is_refused() -> None:
    unsigned = forge(claims(), header={"alg": "none"}).rpartition(".")[0] + "."
    assert problem_of(unsigned) == TokenProblem.BAD_ALGORITHM


@pytest.mark.parametrize("header", [{}, {"alg": None}, {"alg": ["HS256"]}, {"alg": {"a": 1}}])
def test_header_without_a_named_algorithm_is_refused(header: dict[str, Any]) -> None:
    assert problem_of(forge(claims(), header=header)) == TokenProblem.BAD_ALGORITHM


def test_longer_digest_under_our_algorithm_is_refused() -> None:
    assert problem_of(forge(claims(), digest="sha512")) == TokenProblem.BAD_SIGNATURE


def test_another_key_is_refused() -> None:
    assert problem_of(forge(claims(), key="k" * 64)) == TokenProblem.BAD_SIGNATURE


def test_removed_signature_is_refused() -> None:
    assert problem_of(forge(claims()).rpartition(".")[0] + ".") == TokenProblem.BAD_SIGNATURE


def test_raised_role_is_refused() -> None:
    header, _, signature = forge(claims()).split(".")
    raised = b64(json.dumps(claims(role=roles.ADMIN)).encode())
    assert problem_of(f"{header}.{raised}.{signature}") == TokenProblem.BAD_SIGNATURE


@pytest.mark.parametrize("crit", [["exp"], [], "exp", [1]])
def test_critical_extension_is_refused(crit: object) -> None:
    header = {"alg": "HS256", "crit": crit, "exp": 1}
    assert problem_of(forge(claims(), header=header)) == TokenProblem.MALFORMED


@pytest.mark.parametrize(
    "issuer",
    [
        ...,
        "",
        None,
        "justina_backend",
        "JUSTINA_BACKEND",
        "Justina",
        "Justina_Backend2",
        "xJustina_Backend",
        ["Justina_Backend"],
        {"Justina_Backend": 1},
        7,
    ],
)
def test_issuer_must_be_exactly_ours(issuer: object) -> None:
    assert problem_of(forge(claims(iss=issuer))) == TokenProblem.WRONG_ISSUER


@pytest.mark.parametrize("name", ["sub", "userId", "role", "iat", "exp"])
@pytest.mark.parametrize("value", [..., None])
def test_every_claim_of_the_document_is_needed(name: str, value: object) -> None:
    assert problem_of(forge(claims(**{name: value}))) == TokenProblem.MISSING_CLAIM


@pytest.mark.parametrize("name", ["sub", "userId", "role"])
@pytest.mark.parametrize("value", [["x"], {"x": 1}, 7, True])
def test_names_must_be_texts(name: str, value: object) -> None:
    assert problem_of(forge(claims(**{name: value}))) == TokenProblem.MALFORMED


@pytest.mark.parametrize("value", ["1", "x", True, [1], {}, 10**400, -(10**18), 10**13])
@pytest.mark.parametrize("name", ["iat", "exp", "nbf"])
def test_times_must_be_seconds(name: str, value: object) -> None:
    assert problem_of(forge(claims(**{name: value}))) == TokenProblem.MALFORMED


@pytest.mark.parametrize("number", ["1e400", "NaN", "Infinity", "-Infinity", "9" * 5000])
def test_impossible_number_is_refused(number: str) -> None:
    raw = json.dumps(claims(exp=0)).replace('"exp": 0', f'"exp": {number}').encode()
    assert problem_of(forge(raw)) == TokenProblem.MALFORMED


@pytest.mark.parametrize(
    "user_id", ["surgeon_master", "550e8400", "{" + "0" * 32 + "}", "' OR 1=1"]
)
def test_user_id_must_be_a_uuid(user_id: str) -> None:
    assert problem_of(forge(claims(userId=user_id))) == TokenProblem.MALFORMED


@pytest.mark.parametrize("token_id", ["x" * 129, "a\0b", "a\nb", 7])
def test_odd_token_id_is_refused(token_id: object) -> None:
    assert problem_of(forge(claims(jti=token_id))) == TokenProblem.MALFORMED


def test_expiry_has_no_grace() -> None:
    token = forge(claims())
    last = NOW + timedelta(days=1)
    assert read_access(token, now=last - timedelta(microseconds=1))
    assert problem_of(token, now=last) == TokenProblem.EXPIRED


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_token_from_the_future_is_refused(name: str) -> None:
    ahead = int(NOW.timestamp()) + 31
    assert problem_of(forge(claims(**{name: ahead}))) == TokenProblem.NOT_YET_VALID


@pytest.mark.parametrize("kind", ["refresh", "device", "", None, 1, ["access"]])
def test_another_kind_of_token_is_refused(kind: object) -> None:
    assert problem_of(forge(claims(token_type=kind))) == TokenProblem.WRONG_KIND


def test_refresh_token_opens_nothing_and_access_token_renews_nothing() -> None:
    assert problem_of(issue_refresh(USER, now=NOW)) == TokenProblem.WRONG_KIND
    with pytest.raises(BadToken) as refusal:
        read_refresh(issue_access(USER, now=NOW), now=NOW)
    assert refusal.value.problem == TokenProblem.WRONG_KIND
    assert read_refresh(issue_refresh(USER, now=NOW), now=NOW).user_id == USER.pk


def test_no_token_is_missing() -> None:
    assert problem_of("") == TokenProblem.MISSING


@pytest.mark.parametrize("suffix", ["=", "==", "\n", " ", ".", ".x", "\0", "é", "\ud800"])
def test_token_has_one_spelling_only(suffix: str) -> None:
    assert problem_of(forge(claims()) + suffix) == TokenProblem.MALFORMED


def test_token_of_four_kilobytes_is_refused() -> None:
    assert problem_of(forge(claims(padding="x" * 4096))) == TokenProblem.MALFORMED


@pytest.mark.parametrize("payload", [b"", b"[]", b"7", b"null", b"\xff\xfe", b'{"sub":"\\ud800"}'])
def test_payload_must_be_an_object(payload: bytes) -> None:
    assert problem_of(forge(payload)) == TokenProblem.MALFORMED


def test_deep_payload_and_deep_header_are_refused() -> None:
    deep = b"[" * 1200 + b"]" * 1200
    assert problem_of(forge(b'{"x":' + deep + b"}")) == TokenProblem.MALFORMED
    assert problem_of(forge(claims(), header=b'{"alg":' + deep + b"}")) == TokenProblem.MALFORMED


# --- told -----------------------------------------------------------------------------


def test_only_expiry_is_told_apart() -> None:
    told = {problem: BadToken(problem).public_text for problem in TokenProblem}
    assert told.pop(TokenProblem.EXPIRED) == "token expired"
    assert set(told.values()) == {"invalid token"}


def test_refusal_does_not_hold_the_token() -> None:
    token = forge(claims(), key="k" * 64)
    with pytest.raises(BadToken) as refusal:
        read_access(token, now=NOW)
    error = refusal.value
    assert token not in f"{error}{error!r}{error.args}"
    assert error.__cause__ is None
    assert error.__suppress_context__


# --- garbage --------------------------------------------------------------------------

SEGMENT = st.text(string.ascii_letters + string.digits + "-_=", max_size=200)


@given(st.text(max_size=5000))
def test_garbage_raises_bad_token_only(text: str) -> None:
    with pytest.raises(BadToken):
        read_access(text, now=NOW)


@given(st.text(st.characters(categories=["Cs", "Cc"]), max_size=50))
def test_surrogates_and_control_characters_raise_bad_token_only(text: str) -> None:
    with pytest.raises(BadToken):
        read_access(text, now=NOW)


@given(SEGMENT, SEGMENT, SEGMENT)
def test_segments_of_garbage_raise_bad_token_only(one: str, two: str, three: str) -> None:
    with pytest.raises(BadToken):
        read_access(f"{one}.{two}.{three}", now=NOW)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_signed_garbage_raises_bad_token_only(header: bytes, payload: bytes) -> None:
    with pytest.raises(BadToken):
        read_access(forge(payload, header=header), now=NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from(["iss", "sub", "userId", "role", "iat", "exp", "nbf", "jti"]), JSON)
def test_any_value_of_a_claim_is_read_or_raises_bad_token(name: str, value: object) -> None:
    with suppress(BadToken):
        read_access(forge(claims(**{name: value})), now=NOW)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_no_single_changed_octet_passes(position: int, change: int) -> None:
    token = bytearray(issue_access(USER, now=NOW).encode())
    token[position % len(token)] ^= change
    with pytest.raises(BadToken):
        read_access(token.decode("latin-1"), now=NOW)
