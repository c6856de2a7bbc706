//! A model of the commit protocol, checked in every interleaving: `docs/model.md`.
//!
//! `holds` checks every property in every state of each configuration. `needs` takes out one rule
//! at a time and sees a property fail.

mod ingester;
mod others;
mod protocol;
mod world;

use stateright::{Checker, HasDiscoveries, Model};

use others::Deed;
use protocol::*;
use world::Budget;

const CHECKER_THREADS: usize = 2;

const NOTHING: Budget = Budget {
    lost_answers: 0,
    crashes: 0,
    surrenders: 0,
    rewrites: 0,
    checkpoints: 0,
    sweeps: 0,
    rebuilds: 0,
    undos: 0,
    merges: 0,
};

/// The same object is announced to two ingesters.
fn race() -> Protocol {
    Protocol {
        without: None,
        is_iceberg: false,
        announced: &[&[0], &[0]],
        deliveries_max: 1,
        reads_old_versions: false,
        cleans_one_by_one: false,
        is_adopted: true,
        folds: false,
        deeds: &[],
        budget: NOTHING,
    }
}

/// And to a third.
fn race_of_three() -> Protocol {
    let budget = Budget { lost_answers: 1, ..NOTHING };
    Protocol { announced: &[&[0], &[0], &[0]], budget, ..race() }
}

/// One batch holds what the other holds, and more.
fn overlapping() -> Protocol {
    let budget = Budget { lost_answers: 1, crashes: 1, ..NOTHING };
    Protocol { announced: &[&[0, 1], &[1]], deliveries_max: 2, budget, ..race() }
}

/// Each ingester has an object of its own.
fn disjoint() -> Protocol {
    Protocol { announced: &[&[0], &[1]], ..overlapping() }
}

/// Answers are lost, an ingester crashes, another gives up; all is announced twice.
fn lost_answers() -> Protocol {
    let budget = Budget { lost_answers: 2, crashes: 1, surrenders: 1, ..NOTHING };
    Protocol { deliveries_max: 2, budget, ..race() }
}

/// The table has no ledger yet.
fn adoption() -> Protocol {
    let budget = Budget { lost_answers: 1, crashes: 1, ..NOTHING };
    Protocol { is_adopted: false, deliveries_max: 2, budget, ..race() }
}

/// A foreign writer appends, compacts, and changes the columns.
fn foreign() -> Protocol {
    let budget = Budget { lost_answers: 1, ..NOTHING };
    Protocol { deeds: &[Deed::Append, Deed::Compact, Deed::ChangeSchema], budget, ..race() }
}

/// Somebody replaces the table in its place.
fn replaced() -> Protocol {
    Protocol { deeds: &[Deed::Replace], deliveries_max: 2, ..race() }
}

/// Somebody's clean-up drops the pointer.
fn forgotten() -> Protocol {
    Protocol { deeds: &[Deed::ForgetPointer], deliveries_max: 2, ..race() }
}

/// The object is rewritten, and rewritten again as it was.
fn rewritten() -> Protocol {
    let budget = Budget { rewrites: 2, ..NOTHING };
    Protocol { deliveries_max: 2, reads_old_versions: true, budget, ..race() }
}

/// The log moves on and is cleaned up under two frozen ingesters.
fn clean_up() -> Protocol {
    let deeds = &[Deed::Append, Deed::Append, Deed::Append];
    let budget = Budget { checkpoints: 1, ..NOTHING };
    Protocol { announced: &[&[0], &[1]], deeds, budget, ..race() }
}

/// The clean-up deletes in any order.
fn clean_up_in_any_order() -> Protocol {
    Protocol { cleans_one_by_one: true, deeds: &[Deed::Append, Deed::Append], ..clean_up() }
}

/// And an answer is lost.
fn clean_up_with_a_lost_answer() -> Protocol {
    let budget = Budget { lost_answers: 1, checkpoints: 1, ..NOTHING };
    Protocol { deeds: &[Deed::Append, Deed::Append], budget, ..race() }
}

/// Orphans are swept.
fn sweep() -> Protocol {
    let budget = Budget { lost_answers: 1, sweeps: 1, ..NOTHING };
    Protocol { announced: &[&[0], &[1]], budget, ..race() }
}

/// The ledger is rebuilt from rows, twice, while the object is rewritten.
fn rebuilt_twice() -> Protocol {
    let budget = Budget { rebuilds: 2, rewrites: 1, ..NOTHING };
    Protocol { deliveries_max: 2, budget, ..race() }
}

/// The ledger is rebuilt, and the log cleaned up.
fn rebuilt_and_cleaned() -> Protocol {
    let budget = Budget { rebuilds: 1, checkpoints: 1, ..NOTHING };
    Protocol { deeds: &[Deed::Append], budget, ..race() }
}

/// An object is undone that shares a file with another, while that is compacted.
fn undone() -> Protocol {
    let budget = Budget { undos: 1, lost_answers: 1, ..NOTHING };
    let deeds = &[Deed::Compact, Deed::Append];
    Protocol { announced: &[&[0, 1], &[0]], deliveries_max: 2, deeds, budget, ..race() }
}

/// Entries are folded to runs, two mergers put those together, and what is left behind is deleted.
fn merged() -> Protocol {
    let budget = Budget { merges: 2, lost_answers: 1, ..NOTHING };
    Protocol { announced: &[&[0], &[1]], deliveries_max: 2, folds: true, budget, ..race() }
}

/// The same, and orphans are swept.
fn merged_and_swept() -> Protocol {
    let budget = Budget { merges: 1, sweeps: 1, ..NOTHING };
    Protocol { deliveries_max: 1, budget, ..merged() }
}

fn iceberg_lost_answers() -> Protocol {
    Protocol { is_iceberg: true, ..lost_answers() }
}

/// Snapshots expire under an ingester whose answer was lost.
fn iceberg_expiry() -> Protocol {
    Protocol { is_iceberg: true, deeds: &[Deed::Append], ..clean_up_with_a_lost_answer() }
}

fn iceberg_sweep() -> Protocol {
    Protocol { is_iceberg: true, ..sweep() }
}

/// Checks every property in every state, with every rule in its place.
fn check(protocol: Protocol) {
    let checker = protocol.checker().threads(CHECKER_THREADS).spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    checker.assert_properties();
}

/// Takes `rule` out, and sees `property` fail. `--nocapture` shows how.
fn find(rule: Rule, property: &'static str, protocol: Protocol) {
    let protocol = Protocol { without: Some(rule), ..protocol };
    let failure = HasDiscoveries::AnyOf([property].into());
    let checker =
        protocol.checker().threads(CHECKER_THREADS).finish_when(failure).spawn_bfs().join();
    let steps = checker.assert_any_discovery(property).into_actions();
    println!("without {rule:?}, not \"{property}\": {steps:#?}");
}

macro_rules! holds {
    ($($configuration:ident)*) => {
        mod holds {
            $(#[test] fn $configuration() { super::check(super::$configuration()); })*
        }
    };
}

holds! {
    race
    race_of_three
    overlapping
    disjoint
    lost_answers
    adoption
    foreign
    replaced
    forgotten
    rewritten
    clean_up
    clean_up_in_any_order
    clean_up_with_a_lost_answer
    sweep
    rebuilt_twice
    rebuilt_and_cleaned
    undone
    merged
    merged_and_swept
    iceberg_lost_answers
    iceberg_expiry
    iceberg_sweep
}

macro_rules! needs {
    ($($test:ident: without $rule:ident in $configuration:ident, not $property:ident;)*) => {
        mod needs {
            $(#[test] fn $test() {
                super::find(super::Rule::$rule, super::$property, super::$configuration());
            })*
        }
    };
}

needs! {
    rule_1_adoption_first: without AdoptionFirst in adoption, not REFUSED_WITH_REASON;
    rule_1_one_table: without OneTablePerLedger in replaced, not RECEIPTS_ARE_TRUE;
    rule_2_pin_before_look: without PinBeforeLook in rewritten, not NEVER_BACK;
    rule_3_durable: without DurableBeforeCommit in race, not NAMES_WHAT_IS_THERE;
    rule_3_extends: without ExtendsThePinned in disjoint, not LEDGER_AGREES;
    rule_4_takes_the_slot: without TakesTheSlot in race, not EXACTLY_ONCE;
    rule_5_together: without Together in lost_answers, not EXACTLY_ONCE;
    rule_6_mine: without AsksWhetherMine in lost_answers, not NAMES_WHAT_IS_THERE;
    rule_6_keys: without KeysAreChecked in race, not EXACTLY_ONCE;
    rule_6_schema: without SchemaIsChecked in foreign, not FILES_FIT;
    rule_7_unknown_is_not_failed: without UnknownIsNotFailed in lost_answers, not FAILED_IS_FAILED;
    rule_8_visible: without SuccessIsVisible in clean_up, not RECEIPTS_ARE_TRUE;
    rule_8_ghost_before: without NoCheckpointAbove in clean_up, not RECEIPTS_ARE_TRUE;
    rule_8_any_order: without NoCheckpointAbove in clean_up_in_any_order, not RECEIPTS_ARE_TRUE;
    rule_8_lost: without LostIsJudgedOnLog in clean_up_with_a_lost_answer, not NAMES_WHAT_IS_THERE;
    rule_9_only_grow: without EntriesOnlyGrow in rewritten, not EXACTLY_ONCE;
    rule_10_no_rebase: without RebuildNeverRebases in rebuilt_twice, not LEDGER_AGREES;
    rule_10_fence: without FenceIsChecked in rebuilt_twice, not EXACTLY_ONCE;
    rule_10_fence_grows: without FenceOnlyGrows in rebuilt_twice, not EXACTLY_ONCE;
    rule_10_removal: without RemovalNeverRebases in undone, not UNDONE_IS_GONE;
    rule_11_unknown_keeps_files: without UnknownKeepsFiles in lost_answers, not NAMES_WHAT_IS_THERE;
    rule_11_fence_first: without FenceBeforeDelete in sweep, not NAMES_WHAT_IS_THERE;
    rule_11_pin_behind_fence: without PinBehindFence in sweep, not NAMES_WHAT_IS_THERE;
    rule_11_fence_is_checked: without FenceIsChecked in sweep, not NAMES_WHAT_IS_THERE;
    rule_6_merge: without MergeInputsAreNamed in merged, not RUNS_HOLD_ALL;
    rule_11_merge_fence: without MergeFenceIsChecked in merged_and_swept, not NAMES_WHAT_IS_THERE;
    rule_12_merge: without MissingIsJudgedOnCurrent in merged, not REFUSED_WITH_REASON;
    rule_12_not_empty: without MissingIsNotEmpty in forgotten, not EXACTLY_ONCE;
    rule_12_adoption: without MissingIsJudgedOnCurrent in adoption, not REFUSED_WITH_REASON;
    rule_12_sweep: without MissingIsJudgedOnCurrent in sweep, not REFUSED_WITH_REASON;
    iceberg_rule_6_mine: without AsksWhetherMine in iceberg_lost_answers, not NAMES_WHAT_IS_THERE;
    iceberg_rule_6_keys: without KeysAreChecked in iceberg_lost_answers, not EXACTLY_ONCE;
}
