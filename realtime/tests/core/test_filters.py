"""Scopes and filters: the right to hear and the wish to, and when two are the same."""

from uuid import UUID

from realtime.core.events import AccessChanged, SurgeryStarted
from realtime.core.filters import EVERYTHING, Filter, Scope
from realtime.tests.doubles import NOW, completed, moved, started, user_id_of

ANA, BEA = user_id_of("ana"), user_id_of("bea")


def test_an_empty_filter_takes_all_kinds() -> None:
    assert EVERYTHING.accepts(started())
    assert EVERYTHING.accepts(moved())


def test_a_filter_takes_the_kinds_it_names() -> None:
    only_starts = Filter(kinds=frozenset({SurgeryStarted.__name__}))
    assert only_starts.accepts(started())
    assert not only_starts.accepts(completed())


def test_own_things_are_heard_by_their_owner_only() -> None:
    patterns = ("own:surgeries.**",)
    assert Scope.of(patterns, ANA).admits(started(surgeon="ana"))
    assert not Scope.of(patterns, BEA).admits(started(surgeon="ana"))


def test_a_completed_operation_is_its_surgeon_s_as_well() -> None:
    scope = Scope.of(("own:surgeries.**",), ANA)
    assert scope.admits(completed(surgeon="ana"))
    assert not scope.admits(completed(surgeon="bea"))


def test_what_anyone_may_hear_is_heard_whoever_owns_it() -> None:
    scope = Scope.of(("surgeries.**",), BEA)
    assert scope.admits(started(surgeon="ana"))


def test_a_thing_without_an_owner_is_nobody_s_own() -> None:
    scope = Scope.of(("own:control.**",), ANA)
    assert not scope.admits(AccessChanged(id="e", at=NOW, user_id=ANA))


def test_a_topic_outside_the_patterns_is_not_heard() -> None:
    assert not Scope.of(("chat.**", "own:chat.**"), ANA).admits(started(surgeon="ana"))


def test_two_operators_have_the_same_scope_and_two_surgeons_do_not() -> None:
    assert Scope.of(("surgeries.**",), ANA) == Scope.of(("surgeries.**",), BEA)
    own = ("own:surgeries.**",)
    assert Scope.of(own, ANA) != Scope.of(own, BEA)


def test_narrowing_forgets_the_owner_where_nothing_own_can_matter() -> None:
    patterns = ("own:surgeries.**", "chat.**")
    ana, bea = (Scope.of(patterns, user) for user in (ANA, BEA))
    assert ana.narrowed("chat.*") == bea.narrowed("chat.*")
    assert ana.narrowed("surgeries.*") != bea.narrowed("surgeries.*")


def test_narrowing_admits_what_was_admitted_within_the_pattern() -> None:
    scope = Scope.of(("own:surgeries.**", "chat.**"), ANA)
    assert scope.narrowed("surgeries.completed").admits(completed(surgeon="ana"))
    assert not scope.narrowed("surgeries.completed").admits(completed(surgeon="bea"))


def test_a_pattern_of_which_nothing_may_be_heard_leaves_an_empty_scope() -> None:
    scope = Scope.of(("chat.**",), ANA)
    assert scope.narrowed("surgeries.*").is_empty
    assert not scope.narrowed("chat.general").is_empty


def test_everyone_hears_the_own_private_topic_and_no_other() -> None:
    scope = Scope.of((f"users.{ANA}",), ANA)
    assert scope.narrowed("users.*").anyone == (f"users.{ANA}",)
    assert scope.narrowed(f"users.{BEA}").is_empty


def test_an_owner_is_compared_as_a_uuid() -> None:
    again = UUID(str(ANA))
    assert Scope.of(("own:surgeries.**",), again).admits(started(surgeon="ana"))
