//! The only source of time, randomness and resource usage.
//!
//! Everything else takes a [`Clock`] and an [`Entropy`], so that a race or a crash can be replayed
//! from a seed. `clippy.toml` refuses the ambient ones elsewhere.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use uuid::Uuid;

/// Time, and what the process has used so far.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The wall clock. It labels; it never orders anything.
    fn now(&self) -> DateTime<Utc>;
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
    /// Waits for `duration`.
    async fn sleep(&self, duration: Duration);
    /// CPU time and peak memory of this process.
    fn usage(&self) -> Usage;
}

/// What a process has used since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// The largest resident set so far.
    pub peak_rss_bytes: u64,
}

/// The time that an invocation has, on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeBox {
    /// When it began.
    pub began: Duration,
    /// When it is stopped, whatever it is doing.
    pub ends: Duration,
}

/// No invocation of any cloud is longer, and no two clocks of a cloud are further apart.
const INVOCATION_MAX: Duration = Duration::from_secs(60 * 60);

impl TimeBox {
    /// From now until `margin` before `deadline_ms`, milliseconds since 1970 in UTC; nothing, where
    /// that is no moment at which an invocation can end that is under way now.
    pub fn until(clock: &dyn Clock, deadline_ms: u64, margin: Duration) -> Option<Self> {
        let now_ms = u64::try_from(clock.now().timestamp_millis()).ok()?;
        if u128::from(now_ms.abs_diff(deadline_ms)) > INVOCATION_MAX.as_millis() {
            return None;
        }
        let left = Duration::from_millis(deadline_ms.saturating_sub(now_ms));
        let began = clock.monotonic();
        Some(Self { began, ends: began + left.saturating_sub(margin) })
    }

    /// All of it.
    pub fn length(&self) -> Duration {
        self.ends.saturating_sub(self.began)
    }
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    started: std::time::Instant,
}

impl Default for SystemClock {
    #[allow(clippy::disallowed_methods)]
    fn default() -> Self {
        Self { started: std::time::Instant::now() }
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    #[allow(clippy::disallowed_methods)]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn usage(&self) -> Usage {
        use nix::sys::resource::{UsageWho, getrusage};
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
            return Usage::default();
        };
        let duration = |t: nix::sys::time::TimeVal| {
            use nix::sys::time::TimeValLike;
            Duration::from_micros(t.num_microseconds().unsigned_abs())
        };
        let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
        // On Linux the rusage figure is inherited through exec from whoever started us; the
        // kernel's own high-water mark of this address space is not.
        let peak_rss_bytes = high_water_mark_bytes()
            .unwrap_or_else(|| usage.max_rss().unsigned_abs().saturating_mul(unit));
        Usage { cpu: duration(usage.user_time()) + duration(usage.system_time()), peak_rss_bytes }
    }
}

fn high_water_mark_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Randomness for names and for back-off, from the system or from a seed.
#[derive(Debug)]
pub struct Entropy(Mutex<StdRng>);

impl Entropy {
    /// Seeded by the operating system.
    pub fn from_system() -> Self {
        Self(Mutex::new(StdRng::from_os_rng()))
    }

    /// The same sequence for the same seed.
    pub fn from_seed(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// A random (version 4) identifier.
    pub fn uuid(&self) -> Uuid {
        let mut bytes = [0_u8; 16];
        self.with(|rng| rng.fill_bytes(&mut bytes));
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// A number of `bits` random bits, at most 63.
    pub fn bits(&self, bits: u32) -> u64 {
        debug_assert!(bits <= 63);
        self.with(|rng| rng.next_u64()) & ((1 << bits) - 1)
    }

    /// A wait between nothing and `ceiling`: full jitter, so that losers of one race do not meet
    /// again in the next.
    pub fn jitter(&self, ceiling: Duration) -> Duration {
        ceiling.mul_f64(self.with(|rng| rng.random::<f64>()))
    }

    fn with<T>(&self, use_rng: impl FnOnce(&mut StdRng) -> T) -> T {
        // A poisoned generator is still a generator: no invariant spans a call.
        use_rng(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays() {
        let (a, b) = (Entropy::from_seed(7), Entropy::from_seed(7));
        assert_eq!(a.uuid(), b.uuid());
        assert_eq!(a.bits(24), b.bits(24));
        assert_ne!(a.uuid(), a.uuid());
    }

    /// Ten seconds after it was started, at 1,700,000,000 seconds since 1970.
    struct Stopped;

    #[async_trait]
    impl Clock for Stopped {
        fn now(&self) -> DateTime<Utc> {
            DateTime::from_timestamp(1_700_000_000, 0).unwrap()
        }
        fn monotonic(&self) -> Duration {
            Duration::from_secs(10)
        }
        async fn sleep(&self, _: Duration) {}
        fn usage(&self) -> Usage {
            Usage::default()
        }
    }

    #[test]
    fn a_deadline_is_on_our_own_clock_and_nonsense_is_none() {
        let margin = Duration::from_secs(1);
        let ends = |deadline_ms| {
            let time_box = TimeBox::until(&Stopped, deadline_ms, margin)?;
            assert_eq!(time_box.began, Duration::from_secs(10));
            Some(time_box.ends.as_millis())
        };
        assert_eq!(ends(1_700_000_060_500), Some(69_500));
        // One that is over, or nearly, leaves nothing.
        assert_eq!(ends(1_700_000_000_500), Some(10_000));
        assert_eq!(ends(1_699_999_999_000), Some(10_000));
        // An emulator says how long it lasts.
        assert_eq!(ends(600_000), None);
        assert_eq!(ends(0), None);
        assert_eq!(ends(u64::MAX), None);
    }

    #[test]
    fn usage_is_plausible() {
        let usage = SystemClock::default().usage();
        assert!(usage.peak_rss_bytes > 1 << 20, "{usage:?}");
    }
}
