from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from killswitch import Change, Revocation, Snapshot, Target
from killswitch.point.view import View
from killswitch.revocations import is_weaker

NAMES = [Target("agent", "a"), Target("agent", "b"), Target("session", "a"), Target("fleet")]


class Store:
    """What the store would say: a history of changes, its state, snapshots of it."""

    def __init__(self, label: str = "") -> None:
        self.label = label
        self.log: list[Change] = []
        self.state: dict[Target, Revocation] = {}

    def write(self, target: Target, lift: bool = False, level: Any = "revoke") -> Change:
        epoch = len(self.log) + 1
        fields: dict[str, Any] = {"reason": "r", "by": "b", "at_s": 1.0, "change_id": f"{self.label}{epoch}"}
        new = None
        if not lift:
            new = Revocation(target=target, level=level, expires_at_s=None, epoch=epoch, **fields)
        change = Change(
            epoch=epoch,
            kind="restore" if lift else level,
            target=target,
            previous=self.state.get(target),
            new=new,
            **fields,
        )
        self.log.append(change)
        self.state.pop(target, None)
        if new is not None:
            self.state[target] = new
        return change

    def snapshot(self, known_epoch: int, trimmed_to: int = 1) -> Snapshot:
        kept = {change.epoch: change.change_id for change in self.log if change.epoch >= trimmed_to}
        return Snapshot(
            epoch=len(self.log),
            revocations=dict(self.state),
            tip_id=kept.get(len(self.log)),
            known_id=kept.get(known_epoch),
            oldest_epoch=min(kept, default=None),
        )

    def view(self) -> View:
        return View().rebuilt(self.snapshot(0))


def held(view: View) -> dict[Target, Revocation]:
    return {record.target: record for record in view.revocations()}


@given(st.randoms(use_true_random=False), st.integers(1, 40), st.floats(0, 1))
def test_however_pushes_are_lost_repeated_and_late_the_view_ends_as_the_store(
    chance: random.Random, length: int, loss: float
) -> None:
    store, view, delayed = Store(), View(), list[Change]()
    for _ in range(length):
        change = store.write(chance.choice(NAMES), lift=chance.random() < 0.4)
        if chance.random() < loss:
            if chance.random() < 0.5:
                delayed.append(change)
            continue
        pushes = [change, *([delayed.pop()] if delayed and chance.random() < 0.5 else [])]
        for push in pushes:
            if view.apply(push) == "gap":
                view = view.rebuilt(store.snapshot(view.epoch))
        assert (held(view), view.epoch) == (store.state, change.epoch)
        assert not view.regressed


def test_changes_in_order_are_applied_one_by_one() -> None:
    store, view = Store(), View()
    assert view.apply(store.write(NAMES[0])) == "applied"
    assert view.apply(store.write(NAMES[0], lift=True)) == "applied"
    assert (len(view), view.epoch) == (0, 2)


def test_a_missing_epoch_is_a_gap_but_a_kill_behind_it_is_enforced_at_once() -> None:
    store, view = Store(), View()
    store.write(NAMES[0])
    assert view.apply(store.write(NAMES[1])) == "gap"
    assert view.get(NAMES[1]) is not None


def test_a_restore_behind_a_gap_waits_for_the_snapshot() -> None:
    store = Store()
    store.write(NAMES[0])
    view = store.view()
    store.write(NAMES[1])
    assert view.apply(store.write(NAMES[0], lift=True)) == "gap"
    assert view.get(NAMES[0]) is not None


def test_pushes_that_the_snapshot_already_held_are_known() -> None:
    store = Store()
    changes = [store.write(NAMES[0]), store.write(NAMES[1]), store.write(NAMES[1], lift=True)]
    view = store.view()
    assert [view.apply(change) for change in (changes[0], changes[2])] == ["known", "known"]


def test_a_forged_kill_that_takes_an_epoch_does_not_hide_the_real_one() -> None:
    forger, store, view = Store("forged"), Store(), View()
    view.apply(forger.write(NAMES[1]))
    assert view.apply(store.write(NAMES[0])) == "gap"
    assert view.rebuilt(store.snapshot(view.epoch)).get(NAMES[0]) is not None


def test_a_store_that_went_back_takes_nothing_away() -> None:
    store = Store()
    store.write(NAMES[0])
    store.write(NAMES[1])
    view = store.view().rebuilt(Store("wiped").snapshot(2))
    assert set(held(view)) == {NAMES[0], NAMES[1]}
    assert (view.regressed, view.kept, view.epoch) == (True, {NAMES[0], NAMES[1]}, 0)


def test_a_wiped_store_that_has_grown_past_us_is_still_found_out() -> None:
    store, other = Store(), Store("other")
    store.write(NAMES[0])
    for _ in range(5):
        other.write(NAMES[1])
    view = store.view().rebuilt(other.snapshot(1))
    assert (view.regressed, set(held(view))) == (True, {NAMES[0], NAMES[1]})


def test_a_weaker_record_in_the_new_history_does_not_replace_ours() -> None:
    store, other = Store(), Store("other")
    store.write(NAMES[0])
    other.write(NAMES[0], level="step_up")
    other.write(NAMES[1])
    record = store.view().rebuilt(other.snapshot(1)).get(NAMES[0])
    assert record is not None
    assert record.level == "revoke"


def test_after_a_loss_new_kills_and_restores_go_on_and_heal_it() -> None:
    store, wiped = Store(), Store("wiped")
    store.write(NAMES[0])
    view = store.view().rebuilt(wiped.snapshot(1))
    assert view.apply(wiped.write(NAMES[1])) == "applied"
    view = view.rebuilt(wiped.snapshot(view.epoch))
    assert view.kept == {NAMES[0]}
    wiped.write(NAMES[0])
    wiped.write(NAMES[0], lift=True)
    for change in wiped.log[1:]:
        assert view.apply(change) == "applied"
    view = view.rebuilt(wiped.snapshot(view.epoch))
    assert (set(held(view)), view.regressed) == ({NAMES[1]}, False)


def test_a_log_that_was_trimmed_beyond_us_is_no_loss() -> None:
    store = Store()
    store.write(NAMES[0])
    view = store.view()
    for _ in range(5):
        store.write(NAMES[0], lift=True)
    view = view.rebuilt(store.snapshot(1, trimmed_to=4))
    assert (len(view), view.regressed) == (0, False)


def test_the_fleet_and_unreadable_records_bar_everybody() -> None:
    store, view = Store(), View()
    view.apply(store.write(Target("fleet")))
    assert view.barred
    view.apply(store.write(Target("fleet"), lift=True))
    assert not view.barred
    assert view.rebuilt(Snapshot(3, {}, unreadable=("'robot:x': kind",))).barred


def test_lifting_the_fleet_does_not_lift_what_cannot_be_read() -> None:
    store = Store()
    store.write(Target("fleet"))
    view = View().rebuilt(Snapshot(1, dict(store.state), unreadable=("junk",)))
    view.apply(store.write(Target("fleet"), lift=True))
    assert view.barred


KINDS = st.sampled_from(["step_up", "suspend", "revoke"])


def record(target: Target, level: Any, number: int, expires_at_s: float | None = None) -> Revocation:
    expires_at_s = (expires_at_s or 100.0) if level == "suspend" else None
    return Revocation(target, level, "r", "b", 1.0, expires_at_s, f"c{number}", number)


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.none() | KINDS, st.floats(20, 200), st.booleans()), max_size=20),
    st.floats(0, 10),
)  # fmt: skip
def test_nothing_unproven_ever_lets_go(steps: list[tuple[Target, Any, float, bool]], now_s: float) -> None:
    """Whatever is pushed or shown without proof, what was refused now and later is refused now and later."""
    view = View(proven=False).rebuilt(Snapshot(0, {}, certified=True), needs_proof=True)
    for number, (target, level, expires_at_s, is_push) in enumerate(steps, 1):
        before = {held.target: held for held in view.revocations()}
        new = None if level is None else record(target, level, number, expires_at_s)
        if is_push:
            change = Change(
                view.epoch + 1, f"c{number}", level or "restore", target, None, new, "r", "b", 1.0
            )
            assert view.apply(change, now_s=now_s, proven=False) == "applied"
        else:
            view = view.rebuilt(
                Snapshot(view.epoch + 1, {} if new is None else {target: new}), now_s=now_s, needs_proof=True
            )
        for held in before.values():
            assert not is_weaker(view.get(held.target), held, now_s)


def test_what_was_lifted_with_proof_goes_and_the_rest_stays() -> None:
    one, other = record(NAMES[0], "revoke", 1), record(NAMES[1], "revoke", 2)
    view = View().rebuilt(Snapshot(2, {NAMES[0]: one, NAMES[1]: other}, certified=True), needs_proof=True)
    view = view.rebuilt(Snapshot(3, {}), needs_proof=True, lifted={"c1"})
    assert (set(held(view)), view.kept, view.regressed) == ({NAMES[1]}, {NAMES[1]}, True)


def test_a_state_that_nobody_vouches_for_bars_everybody_who_starts_on_it_and_nobody_who_knew_better() -> None:
    cold = View(proven=False).rebuilt(Snapshot(1, {}), needs_proof=True)
    assert cold.barred
    warm = cold.rebuilt(Snapshot(1, {}, certified=True), needs_proof=True)
    assert not warm.barred
    assert not warm.rebuilt(Snapshot(1, {}), needs_proof=True).barred


def test_a_notice_binds_until_its_time_is_up_and_the_change_makes_it_last() -> None:
    view = View()
    assert view.notice(record(NAMES[0], "revoke", 1), until_s=5.0)
    assert not view.notice(record(NAMES[0], "step_up", 1), until_s=9.0)
    assert view.next_notice_s() == 5.0
    assert set(held(view.rebuilt(Snapshot(0, {}), lease_clock_s=4.0))) == {NAMES[0]}
    assert held(view.rebuilt(Snapshot(0, {}), lease_clock_s=5.0)) == {}
    store = Store()
    view.apply(store.write(NAMES[0]))
    assert (view.noticed, set(held(view))) == ({}, {NAMES[0]})


def test_a_notice_that_comes_to_nothing_leaves_what_stood_before() -> None:
    store = Store()
    store.write(NAMES[0], level="step_up")
    view = store.view()
    view.notice(record(NAMES[0], "revoke", 9), until_s=5.0)
    view = view.rebuilt(store.snapshot(1), lease_clock_s=6.0)
    assert held(view) == store.state


def test_a_kill_from_ahead_that_the_store_does_not_know_is_dropped_with_the_snapshot() -> None:
    store, forger = Store(), Store("forged")
    for _ in range(3):
        forger.write(NAMES[1])
    view = store.view()
    assert view.apply(forger.log[-1]) == "gap"
    assert view.get(NAMES[1]) is not None
    for _ in range(3):
        store.write(NAMES[0])
    assert set(held(view.rebuilt(store.snapshot(0), needs_proof=True))) == {NAMES[0]}


def test_an_unproven_restoration_is_kept_through_a_notice() -> None:
    store = Store()
    store.write(NAMES[0], level="step_up")
    view = store.view()
    view.notice(record(NAMES[0], "revoke", 9), until_s=5.0)
    assert view.apply(store.write(NAMES[0], lift=True), proven=False) == "applied"
    kept = view.get(NAMES[0])
    assert kept is not None
    assert kept.level == "step_up"
