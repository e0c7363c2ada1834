from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from killswitch import Change, Revocation, Snapshot, Target
from killswitch.view import View

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
