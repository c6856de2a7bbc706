//! A model of the commit protocol, checked in every interleaving. See `docs/model.md`.

mod ingester;
mod others;
mod protocol;
mod world;

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use others::Deed;
use protocol::*;
use world::Budget;

const NOTHING: Budget = Budget {
    lost_answers: 0,
    crashes: 0,
    surrenders: 0,
    rewrites: 0,
    checkpoints: 0,
    sweeps: 0,
    rebuilds: 0,
};

/// Two ingesters, to each of which the same object was announced, on a table with a ledger.
fn race() -> Protocol {
    Protocol {
        without: None,
        is_iceberg: false,
        announced: &[&[0], &[0]],
        deliveries_max: 1,
        reads_old_versions: false,
        cleans_in_order: false,
        is_adopted: true,
        deeds: &[],
        budget: NOTHING,
    }
}

/// Answers are lost, an ingester crashes or gives up, messages are delivered twice.
fn lost_answers() -> Protocol {
    let budget = Budget { lost_answers: 1, crashes: 1, ..NOTHING };
    Protocol { deliveries_max: 2, budget, ..race() }
}

fn surrender() -> Protocol {
    let budget = Budget { lost_answers: 1, surrenders: 1, ..NOTHING };
    Protocol { deliveries_max: 2, budget, ..race() }
}

/// A table without a ledger.
fn adoption() -> Protocol {
    let budget = Budget { lost_answers: 1, crashes: 1, ..NOTHING };
    Protocol { is_adopted: false, deliveries_max: 2, budget, ..race() }
}

/// A foreign writer compacts and changes the columns.
fn foreign() -> Protocol {
    let budget = Budget { lost_answers: 1, ..NOTHING };
    Protocol { deeds: &[Deed::Append, Deed::Compact, Deed::ChangeSchema], budget, ..race() }
}

/// Somebody replaces the table in its place.
fn replaced() -> Protocol {
    Protocol { deeds: &[Deed::Replace], deliveries_max: 2, ..race() }
}

fn forgotten() -> Protocol {
    Protocol { deeds: &[Deed::ForgetPointer], deliveries_max: 2, ..race() }
}

fn rewritten() -> Protocol {
    let budget = Budget { rewrites: 2, ..NOTHING };
    Protocol { deliveries_max: 2, reads_old_versions: true, budget, ..race() }
}

fn overlapping() -> Protocol {
    let budget = Budget { lost_answers: 1, ..NOTHING };
    Protocol { announced: &[&[0, 1], &[1]], budget, ..race() }
}

fn clean_up() -> Protocol {
    let budget = Budget { lost_answers: 1, checkpoints: 1, ..NOTHING };
    Protocol { deeds: &[Deed::Append], budget, ..race() }
}

fn sweep() -> Protocol {
    let budget = Budget { lost_answers: 1, sweeps: 1, ..NOTHING };
    Protocol { announced: &[&[0], &[1]], budget, ..race() }
}

fn rebuild() -> Protocol {
    let budget = Budget { rebuilds: 1, rewrites: 1, ..NOTHING };
    Protocol { deliveries_max: 2, budget, ..race() }
}

/// Checks every property in every state.
fn holds(protocol: Protocol) {
    let began = Instant::now();
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    println!("{} states, {:?}", checker.unique_state_count(), began.elapsed());
    checker.assert_properties();
}

/// Takes `rule` out, and sees `property` fail.
fn needs(rule: Rule, property: &'static str, protocol: Protocol) {
    let began = Instant::now();
    let protocol = Protocol { without: Some(rule), ..protocol };
    let failures = HasDiscoveries::AnyOf([property].into());
    let checker = protocol.checker().threads(2).finish_when(failures).spawn_bfs().join();
    println!("{} states, {:?}", checker.unique_state_count(), began.elapsed());
    let path = checker.assert_any_discovery(property);
    println!("{:#?}", path.into_actions());
}

macro_rules! needs { ($($name:ident: $rule:ident, $property:ident, $config:ident;)*) => { mod needs { $(#[test] fn $name() { super::needs(super::Rule::$rule, super::$property, super::$config()); })* } } }
needs! {
r1_adoption_first: AdoptionFirst, REFUSED_WITH_REASON, adoption;
r1_one_table: OneTablePerLedger, RECEIPTS_ARE_TRUE, replaced;
r2: PinBeforeLook, NEVER_BACK, rewritten;
r3_durable: DurableBeforeCommit, NAMES_WHAT_IS_THERE, race;
r3_extends: ExtendsThePinned, LEDGER_AGREES, overlapping;
r4: TakesTheSlot, EXACTLY_ONCE, race;
r5: Together, EXACTLY_ONCE, lost_answers;
r6_mine: AsksWhetherMine, NAMES_WHAT_IS_THERE, lost_answers;
r6_keys: KeysAreChecked, EXACTLY_ONCE, race;
r6_schema: SchemaIsChecked, FILES_FIT, foreign;
r7: UnknownIsNotFailed, FAILED_IS_FAILED, lost_answers;
r8: SuccessIsVisible, RECEIPTS_ARE_TRUE, clean_up;
r8_previous: NoCheckpointAbove, RECEIPTS_ARE_TRUE, clean_up;
r8_lost: LostIsJudgedOnLog, NAMES_WHAT_IS_THERE, clean_up;
r9: EntriesOnlyGrow, EXACTLY_ONCE, rewritten;
r10_rebuild: RebuildNeverRebases, LEDGER_AGREES, rebuild;
r10_fence: FenceIsChecked, EXACTLY_ONCE, rebuild;
r10_grows: FenceOnlyGrows, EXACTLY_ONCE, rebuild;
r11_keeps: UnknownKeepsFiles, NAMES_WHAT_IS_THERE, lost_answers;
r11_fence: FenceBeforeDelete, NAMES_WHAT_IS_THERE, sweep;
r11_fence_checked: FenceIsChecked, NAMES_WHAT_IS_THERE, sweep;
r12_empty: MissingIsNotEmpty, EXACTLY_ONCE, forgotten;
r12_current: MissingIsJudgedOnCurrent, REFUSED_WITH_REASON, adoption;
r12_current_sweep: MissingIsJudgedOnCurrent, REFUSED_WITH_REASON, sweep;
}
macro_rules! holds { ($($name:ident)*) => { mod holds { $(#[test] fn $name() { super::holds(super::$name()); })* } } }
holds! { race lost_answers surrender adoption foreign replaced forgotten rewritten overlapping clean_up sweep rebuild }
