//! Time: a function is stopped at its deadline, whatever it is doing. So what cannot end before it
//! is not begun, what turns out slower than that is handed back in time, and what hangs is cut off.

use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};

use crate::clock::TimeBox;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind};

/// What is kept for finishing data files, and for the commit.
const FINISHING_TIME_MAX: Duration = Duration::from_secs(10);
/// Where there is little time, no more than this part of it is kept.
const FINISHING_PARTS: u32 = 3;
/// What was read in less time than this says nothing about speed.
const MEASURED_TIME_MIN: Duration = Duration::from_millis(500);

/// Whether there is time left to begin anything in.
pub fn has_time(environment: &Environment) -> bool {
    !Timekeeper::new(environment).is_up()
}

/// How much of a run's time is left, and how much of it an object takes.
pub(super) struct Timekeeper<'a> {
    environment: &'a Environment,
    /// What has been read so far, and the time that it took.
    bytes: u64,
    time: Duration,
}

impl<'a> Timekeeper<'a> {
    pub fn new(environment: &'a Environment) -> Self {
        Self { environment, bytes: 0, time: Duration::ZERO }
    }

    /// Takes note that `bytes` of one object took from `began` until now.
    pub fn measure(&mut self, bytes: u64, began: Duration) {
        self.bytes += bytes;
        self.time += self.environment.clock.monotonic().saturating_sub(began);
    }

    /// Whether nothing more is to be begun.
    pub fn is_up(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// Why an object of `bytes` is not to be begun, if it is not.
    pub fn objection(&self, bytes: u64) -> Option<Error> {
        let left = self.left()?;
        if left.is_zero() {
            return Some(out_of_time());
        }
        let needed = needed(bytes, self.bytes, self.time)?;
        (needed > left).then(|| self.too_slow(needed))
    }

    /// Why an object of `bytes`, of which `bytes_read` were read since `began`, is to be handed back,
    /// if it is.
    pub fn objection_while(&self, bytes: u64, bytes_read: u64, began: Duration) -> Option<Error> {
        if !self.is_up() {
            return None;
        }
        let elapsed = self.environment.clock.monotonic().saturating_sub(began);
        Some(match needed(bytes, bytes_read, elapsed) {
            Some(needed) => self.too_slow(needed),
            None => out_of_time(),
        })
    }

    /// The time in which work may go on; without end, where there is no deadline.
    fn left(&self) -> Option<Duration> {
        let TimeBox { ends, .. } = self.environment.time_box?;
        let until = ends.saturating_sub(self.kept()?);
        Some(until.saturating_sub(self.environment.clock.monotonic()))
    }

    fn kept(&self) -> Option<Duration> {
        let whole = self.environment.time_box?.length();
        Some(FINISHING_TIME_MAX.min(whole / FINISHING_PARTS))
    }

    /// An object that needs so long: another time, or never.
    fn too_slow(&self, needed: Duration) -> Error {
        let whole = self.environment.time_box.map_or(Duration::MAX, |time_box| time_box.length());
        if needed < whole.saturating_sub(self.kept().unwrap_or_default()) {
            return out_of_time();
        }
        Error::new(
            ErrorKind::DeadlineTooShort,
            format!(
                "it takes about {} s, and the function has {} s",
                needed.as_secs(),
                whole.as_secs()
            ),
        )
        .with_advice(
            "give the function more time or memory, or take the object with `lakefeed ingest` where \
             nothing stops it",
        )
    }
}

/// How long `bytes` take, when `bytes_read` took `time`; nothing, while that says too little.
fn needed(bytes: u64, bytes_read: u64, time: Duration) -> Option<Duration> {
    if bytes_read == 0 || time < MEASURED_TIME_MIN {
        return None;
    }
    Duration::try_from_secs_f64(time.as_secs_f64() * bytes as f64 / bytes_read as f64).ok()
}

/// What `work` comes to, unless the time is over before: a request that hangs must not keep what is
/// done from being said. What is then on its way is cut off as it would be by a kill.
pub(super) async fn until_the_end<T>(
    environment: &Environment,
    work: impl Future<Output = T>,
) -> Option<T> {
    let Some(TimeBox { ends, .. }) = environment.time_box else { return Some(work.await) };
    let clock = &environment.clock;
    let end = clock.sleep(ends.saturating_sub(clock.monotonic()));
    match select(pin!(work), end).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// What is said of an object that was on its way when the time was over.
pub(super) fn cut_off() -> Error {
    let message = "the time was over before a request had its answer";
    Error::new(ErrorKind::CommitUnknown, message)
        .with_advice("deliver its event again: the table's ledger knows whether it was committed")
}

fn out_of_time() -> Error {
    Error::new(ErrorKind::DeadlineExceeded, "there was no time left for it")
        .with_advice("deliver its event again; nothing of it was committed")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use async_trait::async_trait;
    use chrono::{DateTime, Utc};

    use super::*;
    use crate::clock::{Clock, Entropy, Usage};
    use crate::memory::MemoryBudget;
    use crate::store::Stores;

    /// A clock that stands.
    struct At(Duration);

    #[async_trait]
    impl Clock for At {
        fn now(&self) -> DateTime<Utc> {
            DateTime::UNIX_EPOCH
        }
        fn monotonic(&self) -> Duration {
            self.0
        }
        async fn sleep(&self, _: Duration) {}
        fn usage(&self) -> Usage {
            Usage::default()
        }
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// At `now` seconds in an invocation from 100 to 200.
    fn at(now: u64) -> Environment {
        Environment {
            clock: Arc::new(At(seconds(now))),
            entropy: Arc::new(Entropy::from_seed(1)),
            stores: Arc::new(Stores::new(PathBuf::from("/"))),
            process: "test".to_owned(),
            time_box: Some(TimeBox { began: seconds(100), ends: seconds(200) }),
            budget: MemoryBudget::for_process(1 << 30).unwrap(),
            ledger: crate::ledger::Limits::default(),
        }
    }

    fn kind(objection: Option<Error>) -> Option<ErrorKind> {
        objection.map(|error| error.kind())
    }

    #[test]
    fn without_a_deadline_there_is_no_hurry() {
        let environment = Environment { time_box: None, ..at(1_000_000) };
        let mut keeper = Timekeeper::new(&environment);
        keeper.measure(1, seconds(0));
        assert!(!keeper.is_up());
        assert_eq!(kind(keeper.objection(u64::MAX)), None);
        assert_eq!(kind(keeper.objection_while(u64::MAX, 1, seconds(0))), None);
    }

    #[test]
    fn time_is_kept_for_the_commit() {
        for (now, is_up) in [(100, false), (189, false), (190, true), (300, true)] {
            assert_eq!(Timekeeper::new(&at(now)).is_up(), is_up, "{now}");
        }
        let short = TimeBox { began: seconds(197), ends: seconds(200) };
        let environment = Environment { time_box: Some(short), ..at(198) };
        assert!(!Timekeeper::new(&environment).is_up());
    }

    #[test]
    fn what_cannot_end_in_time_is_not_begun() {
        let environment = at(150);
        let mut keeper = Timekeeper::new(&environment);
        // Nothing is known yet.
        assert_eq!(kind(keeper.objection(1 << 40)), None);
        // 10 bytes a second, and 40 seconds are left of 90.
        keeper.measure(100, seconds(140));
        assert_eq!(kind(keeper.objection(400)), None);
        assert_eq!(kind(keeper.objection(410)), Some(ErrorKind::DeadlineExceeded));
        assert_eq!(kind(keeper.objection(890)), Some(ErrorKind::DeadlineExceeded));
        assert_eq!(kind(keeper.objection(910)), Some(ErrorKind::DeadlineTooShort));
    }

    #[test]
    fn what_is_slower_than_the_deadline_is_handed_back() {
        let environment = at(189);
        let objection = |bytes, read| {
            kind(Timekeeper::new(&environment).objection_while(bytes, read, seconds(180)))
        };
        assert_eq!(objection(100, 90), None);
        let environment = at(190);
        let objection = |bytes, read| {
            kind(Timekeeper::new(&environment).objection_while(bytes, read, seconds(180)))
        };
        assert_eq!(objection(800, 100), Some(ErrorKind::DeadlineExceeded));
        assert_eq!(objection(1_000, 100), Some(ErrorKind::DeadlineTooShort));
    }
}
