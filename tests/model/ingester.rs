//! One ingester, step by step. Between any two steps it may freeze (nobody chooses it) or crash.

use crate::protocol::{Protocol, Rule};
use crate::world::{
    Commit, DataFile, Entry, Id, Key, Object, RunFile, Table, Tail, Version, World,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ingester {
    pub step: Step,
    /// How often its message was delivered.
    pub deliveries: u8,
    /// How many names it has given.
    names: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// It has pinned the table, or looked at the objects, or not yet.
    Looking { pin: Option<Pin>, seen: Option<Vec<Object>> },
    /// The ledger was asked: these are to be read, and written to a data file.
    Writing { pin: Pin, ledger: Tail, take: Vec<Object> },
    /// The plan is right on this pin: next, the tail.
    Ready { pin: Pin, ledger: Tail, plan: Plan },
    /// Tail and data file are durable: next, the put.
    Trying(Attempt),
    /// The answer was lost, or said that the slot is taken: who has it?
    Resolving(Attempt),
    /// It has the slot: is it visible?
    Confirming(Attempt),
    /// The attempt was lost, or nobody knows: pin again, and judge.
    Judging(Plan),
    /// It has said what happened.
    Ended,
}

/// What an ingester knows of the version that it pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pin {
    version: Version,
    table_id: u8,
    schema: u8,
    pointer: Option<Id>,
}

impl Pin {
    fn newest(table: &Table) -> Self {
        let Table { version, id: table_id, schema, pointer, .. } = *table;
        Self { version, table_id, schema, pointer }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    append: Id,
    table_id: u8,
    fence: u8,
    file: DataFile,
    /// For each object, how many entries its key had when this was planned.
    entries_before: Vec<usize>,
    /// An attempt with this plan's file may have happened, or may yet.
    is_unsettled: bool,
    /// Only without rule 5: the rows are in, the pointer is not.
    has_rows_in: bool,
    /// Only where tails need not extend the pinned one: the tail of the first attempt.
    first_tail: Option<Id>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    slot: Version,
    /// The run that its tail was folded to.
    run: Option<Id>,
    /// Files that its tail lets go.
    released: Vec<Id>,
    commit: Commit,
    plan: Plan,
    /// It is the adoption of the table, not the append itself.
    is_adoption: bool,
}

/// What an ingester does next, or what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    Pin,
    Look,
    AskLedger,
    WriteFile,
    WriteTail,
    /// The put is answered.
    Put,
    /// The put happens, and the answer is lost.
    PutUnanswered,
    /// The put is given up on, and may arrive later.
    PutDelayed,
    /// The put never arrives.
    PutDropped,
    Resolve,
    /// The slot is still free, and it gives up.
    LeaveUnknown,
    Confirm,
    Judge,
    /// It has lost too many races.
    GiveUp,
    Crash,
    Redeliver,
}

enum Judgement {
    Mine,
    Right,
    NotRight,
}

impl Ingester {
    pub fn new() -> Self {
        Self { step: Step::begin(), deliveries: 1, names: 0 }
    }

    fn name(&mut self, author: usize) -> Id {
        self.names += 1;
        Id(author as u8, self.names)
    }
}

impl Step {
    fn begin() -> Self {
        Self::Looking { pin: None, seen: None }
    }
}

pub fn choices(protocol: &Protocol, world: &World, author: usize, choices: &mut Vec<Move>) {
    let ingester = &world.ingesters[author];
    let budget = &world.budget;
    let may_deliver = ingester.deliveries < protocol.deliveries_max;
    match &ingester.step {
        Step::Looking { pin: Some(_), seen: Some(_) } => choices.push(Move::AskLedger),
        Step::Looking { pin, seen } => {
            let looks_first = protocol.lacks(Rule::PinBeforeLook);
            let pins = if looks_first { seen.is_some() } else { pin.is_none() };
            choices.push(if pins { Move::Pin } else { Move::Look });
        }
        Step::Writing { .. } => choices.push(Move::WriteFile),
        Step::Ready { .. } => choices.push(Move::WriteTail),
        Step::Trying(_) => {
            choices.push(Move::Put);
            if budget.lost_answers > 0 {
                choices.extend([Move::PutUnanswered, Move::PutDelayed, Move::PutDropped]);
            }
        }
        Step::Resolving(attempt) => {
            choices.push(Move::Resolve);
            if world.slot(attempt.slot).is_none() && budget.surrenders > 0 {
                choices.push(Move::LeaveUnknown);
            }
        }
        Step::Confirming(_) => choices.push(Move::Confirm),
        Step::Judging(_) => {
            choices.push(Move::Judge);
            if budget.surrenders > 0 {
                choices.push(Move::GiveUp);
            }
        }
        Step::Ended if may_deliver => choices.push(Move::Redeliver),
        Step::Ended => {}
    }
    if budget.crashes > 0 && may_deliver && ingester.step != Step::Ended {
        choices.push(Move::Crash);
    }
}

pub fn act(protocol: &Protocol, world: &mut World, author: usize, choice: Move) {
    let step = std::mem::replace(&mut world.ingesters[author].step, Step::Ended);
    let mut run = Run { protocol, world, author };
    let next = match (choice, step) {
        (Move::Pin, Step::Looking { seen, .. }) => {
            Step::Looking { pin: Some(Pin::newest(&run.world.table)), seen }
        }
        (Move::Look, Step::Looking { pin, .. }) => Step::Looking { pin, seen: Some(run.look()) },
        (Move::AskLedger, Step::Looking { pin: Some(pin), seen: Some(seen) }) => {
            run.ask_ledger(pin, &seen)
        }
        (Move::WriteFile, Step::Writing { pin, ledger, take }) => run.write_file(pin, ledger, take),
        (Move::WriteTail, Step::Ready { pin, ledger, plan }) => run.write_tail(pin, ledger, plan),
        (_, Step::Trying(attempt)) if choice != Move::Crash => run.put(choice, attempt),
        (Move::Resolve, Step::Resolving(attempt)) => run.resolve(attempt),
        (Move::LeaveUnknown, Step::Resolving(_)) => {
            run.world.budget.surrenders -= 1;
            Step::Ended
        }
        (Move::Confirm, Step::Confirming(attempt)) => run.confirm(attempt),
        (Move::Judge, Step::Judging(plan)) => run.judge_again(plan),
        (Move::GiveUp, Step::Judging(plan)) => {
            run.world.budget.surrenders -= 1;
            run.fail(&plan)
        }
        (Move::Crash, _) => {
            run.world.budget.crashes -= 1;
            run.deliver_again()
        }
        (Move::Redeliver, _) => run.deliver_again(),
        (choice, step) => unreachable!("{choice:?} is not offered at {step:?}"),
    };
    let next = run.go_on_unseen(next);
    world.ingesters[author].step = next;
}

struct Run<'a> {
    protocol: &'a Protocol,
    world: &'a mut World,
    author: usize,
}

impl Run<'_> {
    fn lacks(&self, rule: Rule) -> bool {
        self.protocol.lacks(rule)
    }

    fn name(&mut self) -> Id {
        self.world.ingesters[self.author].name(self.author)
    }

    /// Takes the steps that nobody in this configuration could see, or disturb, or come between:
    /// to take them at once leaves out no state that matters.
    fn go_on_unseen(&mut self, mut step: Step) -> Step {
        let protocol = self.protocol;
        if protocol.without.is_some() {
            return step;
        }
        let may_rewrite = self.world.budget.rewrites > 0;
        let may_sweep = protocol.budget.sweeps > 0 || protocol.folds;
        let may_clean = protocol.budget.checkpoints > 0;
        let may_crash = self.world.budget.crashes > 0;
        loop {
            step = match step {
                Step::Looking { pin: Some(pin), seen: None } if !may_rewrite => {
                    Step::Looking { pin: Some(pin), seen: Some(self.look()) }
                }
                Step::Looking { pin: Some(pin), seen: Some(seen) }
                    if !may_sweep && pin.pointer.is_some() =>
                {
                    self.ask_ledger(pin, &seen)
                }
                Step::Writing { pin, ledger, take } if !may_sweep && !may_rewrite => {
                    self.write_file(pin, ledger, take)
                }
                Step::Ready { pin, ledger, plan } if !may_sweep && pin.pointer.is_some() => {
                    self.write_tail(pin, ledger, plan)
                }
                Step::Resolving(attempt)
                    if !may_clean && self.world.slot(attempt.slot).is_some() =>
                {
                    self.resolve(attempt)
                }
                Step::Confirming(attempt) if !may_clean && !may_crash => self.confirm(attempt),
                step => return step,
            }
        }
    }

    fn deliver_again(&mut self) -> Step {
        self.world.ingesters[self.author].deliveries += 1;
        Step::begin()
    }

    fn look(&self) -> Vec<Object> {
        let keys = self.protocol.announced[self.author];
        keys.iter().map(|&key| Object::written(key, self.world.writes[usize::from(key)])).collect()
    }

    /// The ledger as `pin` points to it, or nothing where it must not be used.
    fn ledger(&self, pin: &Pin) -> Option<Tail> {
        let Some(pointer) = pin.pointer else {
            let is_trace = |tail: &Tail| tail.sequence > 0 && tail.table_id == pin.table_id;
            let was_there = self.world.tails.values().any(is_trace);
            let may_be_empty = !was_there || self.lacks(Rule::MissingIsNotEmpty);
            return may_be_empty.then(|| Tail::empty(pin.table_id));
        };
        let tail = self.world.tails.get(&pointer).cloned()?;
        let is_ours = tail.table_id == pin.table_id || self.lacks(Rule::OneTablePerLedger);
        (is_ours && self.world.is_readable(&tail)).then_some(tail)
    }

    /// Sorts out what was taken, and says so.
    fn ask_ledger(&mut self, pin: Pin, seen: &[Object]) -> Step {
        let Some(ledger) = self.ledger(&pin) else {
            let is_current = Pin::newest(&self.world.table).pointer == pin.pointer;
            if !is_current && !self.lacks(Rule::MissingIsJudgedOnCurrent) {
                return Step::begin();
            }
            let is_foreign = self.world.table.id > 0;
            self.world.has_refused |= !is_foreign;
            return Step::Ended;
        };
        let mut take = Vec::new();
        for &object in seen {
            match ledger.entries.iter().find(|entry| object.is_covered_by(entry)) {
                Some(entry) => self.tell_taken(object.key, entry.identity, pin.table_id),
                None => take.push(object),
            }
        }
        if take.is_empty() { Step::Ended } else { Step::Writing { pin, ledger, take } }
    }

    fn tell_taken(&mut self, key: Key, identity: u8, table_id: u8) {
        self.world.told_taken.insert((key, identity, table_id));
    }

    /// Reads the objects, on condition that they are what was looked at, and makes them a file.
    fn write_file(&mut self, pin: Pin, ledger: Tail, take: Vec<Object>) -> Step {
        let mut rows = Vec::new();
        for object in take {
            let now = Object::written(object.key, self.world.writes[usize::from(object.key)]);
            if self.protocol.reads_old_versions {
                rows.push(object);
            } else if now.identity == object.identity {
                rows.push(now);
            } else {
                return Step::begin();
            }
        }
        let count = |object: &Object| entries_of(&ledger, object.key);
        let append = self.name();
        let plan = Plan {
            append,
            table_id: pin.table_id,
            fence: ledger.fence,
            entries_before: rows.iter().map(count).collect(),
            file: DataFile { id: append, rows, schema: pin.schema },
            is_unsettled: false,
            has_rows_in: false,
            first_tail: None,
        };
        if !self.lacks(Rule::DurableBeforeCommit) {
            self.world.files.insert(append, plan.fence);
        }
        Step::Ready { pin, ledger, plan }
    }

    fn write_tail(&mut self, pin: Pin, ledger: Tail, mut plan: Plan) -> Step {
        let is_adoption = pin.pointer.is_none() && !self.lacks(Rule::AdoptionFirst);
        let id = plan.first_tail.unwrap_or_else(|| self.name());
        let (mut run, mut released) = (None, Vec::new());
        if plan.first_tail.is_none() {
            let mut tail = Tail::empty(pin.table_id);
            if !is_adoption {
                tail = self.next_tail(ledger, &plan);
                if self.protocol.folds {
                    released = tail.leave_behind(pin.pointer);
                    run = Some(self.fold(&mut tail, plan.append));
                }
            }
            self.world.tails.insert(id, tail);
        }
        if self.lacks(Rule::ExtendsThePinned) {
            plan.first_tail = Some(id);
        }
        let file = (!is_adoption && !plan.has_rows_in).then(|| plan.file.clone());
        let comes_later = self.lacks(Rule::Together) && !is_adoption && !plan.has_rows_in;
        let pointer = (!comes_later).then_some(id);
        let append = if is_adoption { id } else { plan.append };
        let commit = Commit { append, pointer, file, ..Commit::default() };
        Step::Trying(Attempt { slot: pin.version + 1, run, released, commit, plan, is_adoption })
    }

    /// Puts the new entries in a run, at once: tails hold none.
    fn fold(&mut self, tail: &mut Tail, append: Id) -> Id {
        let id = self.name();
        self.world.runs.insert(id, RunFile { fence: tail.fence, appends: vec![append] });
        tail.runs.insert(id);
        id
    }

    fn next_tail(&self, mut tail: Tail, plan: &Plan) -> Tail {
        let rows = &plan.file.rows;
        if self.lacks(Rule::EntriesOnlyGrow) {
            tail.entries.retain(|entry| rows.iter().all(|row| row.key != entry.key));
        }
        let entry = |&Object { key, identity, .. }: &Object| Entry {
            key,
            identity,
            append: plan.append,
            is_undone: false,
        };
        tail.sequence += 1;
        tail.entries.extend(rows.iter().map(entry));
        tail
    }

    fn put(&mut self, choice: Move, mut attempt: Attempt) -> Step {
        if self.lacks(Rule::TakesTheSlot) {
            attempt.slot = self.world.table.version + 1;
        }
        let mut is_there = false;
        if let Move::Put | Move::PutUnanswered = choice {
            is_there = self.world.put(attempt.slot, &attempt.commit, self.protocol.is_iceberg);
        }
        if choice == Move::Put && is_there {
            return Step::Confirming(attempt);
        }
        if choice != Move::Put {
            self.world.budget.lost_answers -= 1;
            if choice == Move::PutDelayed {
                self.world.in_flight.push((attempt.slot, attempt.commit.clone()));
            }
            if self.lacks(Rule::UnknownIsNotFailed) {
                return self.fail(&attempt.plan);
            }
            if self.lacks(Rule::UnknownKeepsFiles) {
                self.world.files.remove(&attempt.plan.file.id);
            }
        }
        Step::Resolving(attempt)
    }

    fn resolve(&mut self, mut attempt: Attempt) -> Step {
        let is_cleaned = self.is_cleaned(attempt.slot) && !self.lacks(Rule::LostIsJudgedOnLog);
        match self.world.slot(attempt.slot) {
            None if self.protocol.is_iceberg && attempt.slot <= self.world.table.version => {
                // The snapshot expired: only the ledger knows.
                attempt.plan.is_unsettled = true;
                Step::Judging(attempt.plan)
            }
            None => Step::Trying(attempt),
            Some(found) if *found == attempt.commit && !self.lacks(Rule::AsksWhetherMine) => {
                Step::Confirming(attempt)
            }
            Some(_) if is_cleaned => {
                attempt.plan.is_unsettled = true;
                Step::Judging(attempt.plan)
            }
            Some(_) => {
                if let Some(tail) = attempt.commit.pointer
                    && attempt.plan.first_tail.is_none()
                {
                    self.world.tails.remove(&tail);
                    if let Some(run) = attempt.run {
                        self.world.runs.remove(&run);
                    }
                }
                Step::Judging(attempt.plan)
            }
        }
    }

    /// Whether readers begin above this slot, so that what it holds now may be nobody's.
    fn is_cleaned(&self, slot: Version) -> bool {
        self.world.checkpoint >= slot
    }

    fn confirm(&mut self, mut attempt: Attempt) -> Step {
        let is_visible = if self.protocol.is_iceberg || self.lacks(Rule::SuccessIsVisible) {
            true
        } else if self.lacks(Rule::NoCheckpointAbove) {
            self.world.slot(attempt.slot - 1).is_some()
        } else {
            !self.is_cleaned(attempt.slot)
        };
        if !is_visible {
            attempt.plan.is_unsettled = true;
            return Step::Judging(attempt.plan);
        }
        if attempt.is_adoption {
            return Step::Judging(attempt.plan);
        }
        if attempt.commit.pointer.is_none() {
            attempt.plan.has_rows_in = true;
            return Step::Judging(attempt.plan);
        }
        if self.lacks(Rule::DurableBeforeCommit) {
            self.world.files.insert(attempt.plan.file.id, attempt.plan.fence);
        }
        self.world.garbage.extend(attempt.released);
        self.committed(&attempt.plan)
    }

    fn committed(&mut self, plan: &Plan) -> Step {
        for object in &plan.file.rows {
            self.tell_taken(object.key, object.identity, plan.table_id);
        }
        Step::Ended
    }

    fn judge_again(&mut self, mut plan: Plan) -> Step {
        let pin = Pin::newest(&self.world.table);
        let Some(ledger) = self.ledger(&pin) else { return self.plan_again(&plan) };
        match self.judge(&plan, &pin, &ledger) {
            Judgement::Mine => self.committed(&plan),
            Judgement::NotRight => self.plan_again(&plan),
            Judgement::Right => {
                plan.table_id = pin.table_id;
                Step::Ready { pin, ledger, plan }
            }
        }
    }

    fn judge(&self, plan: &Plan, pin: &Pin, ledger: &Tail) -> Judgement {
        if ledger.entries.iter().any(|entry| entry.append == plan.append)
            && !self.lacks(Rule::AsksWhetherMine)
        {
            return Judgement::Mine;
        }
        let same_table = plan.table_id == pin.table_id || self.lacks(Rule::OneTablePerLedger);
        let same_fence = plan.fence == ledger.fence || self.lacks(Rule::FenceIsChecked);
        let same_schema = plan.file.schema == pin.schema || self.lacks(Rule::SchemaIsChecked);
        let untouched = std::iter::zip(&plan.file.rows, &plan.entries_before)
            .all(|(object, &before)| entries_of(ledger, object.key) == before);
        let untouched = untouched || self.lacks(Rule::KeysAreChecked);
        if same_table && same_fence && same_schema && untouched {
            Judgement::Right
        } else {
            Judgement::NotRight
        }
    }

    /// What was written is abandoned, and everything begins from the start.
    fn plan_again(&mut self, plan: &Plan) -> Step {
        self.fail(plan);
        Step::begin()
    }

    /// It did not happen, and says so; unless an attempt may have happened after all.
    fn fail(&mut self, plan: &Plan) -> Step {
        if !plan.is_unsettled {
            self.world.told_lost.insert(plan.append);
            self.world.files.remove(&plan.file.id);
        }
        Step::Ended
    }
}

fn entries_of(ledger: &Tail, key: Key) -> usize {
    ledger.entries.iter().filter(|entry| entry.key == key).count()
}
