//! The memory budget: what may be held, and who holds it.
//!
//! Whoever holds a large buffer reserves for it first, and gives it back by dropping the
//! [`Reservation`]. Small and short-lived allocations are covered by a fixed line,
//! [`OVERHEAD_BYTES`], measured on the release binary.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// The process itself: code, allocator, runtime, TLS and the table library's own state.
pub const OVERHEAD_BYTES: u64 = 40 << 20;

/// A limit on what all holders together may reserve. Cheap to clone; clones share the limit.
#[derive(Debug, Clone)]
pub struct MemoryBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit_bytes: u64,
    reserved_bytes: AtomicU64,
}

impl MemoryBudget {
    /// A budget for a process that may use `process_bytes` in all.
    ///
    /// # Errors
    /// [`ErrorKind::OverBudget`] when not even the process itself fits.
    pub fn for_process(process_bytes: u64) -> Result<Self> {
        let limit_bytes = process_bytes.checked_sub(OVERHEAD_BYTES).ok_or_else(|| {
            Error::new(
                ErrorKind::OverBudget,
                format!(
                    "a budget of {} leaves nothing beside the {} of the process itself",
                    display_bytes(process_bytes),
                    display_bytes(OVERHEAD_BYTES)
                ),
            )
            .with_advice("give it more with --memory")
        })?;
        Ok(Self(Arc::new(Shared { limit_bytes, reserved_bytes: AtomicU64::new(0) })))
    }

    /// What the holders together may reserve.
    pub fn limit_bytes(&self) -> u64 {
        self.0.limit_bytes
    }

    /// What is not reserved now.
    pub fn available_bytes(&self) -> u64 {
        self.0.limit_bytes.saturating_sub(self.0.reserved_bytes.load(Ordering::Relaxed))
    }

    /// Reserves `bytes` for `holder`.
    ///
    /// # Errors
    /// [`ErrorKind::OverBudget`] when they are not there; nothing is reserved then.
    pub fn try_reserve(&self, holder: &'static str, bytes: u64) -> Result<Reservation> {
        let mut reservation = Reservation { budget: self.clone(), holder, bytes: 0 };
        reservation.try_grow(bytes)?;
        Ok(reservation)
    }
}

/// Part of a budget, given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: MemoryBudget,
    holder: &'static str,
    bytes: u64,
}

impl Reservation {
    /// Reserves `bytes` more.
    ///
    /// # Errors
    /// [`ErrorKind::OverBudget`]; what was reserved before stays reserved.
    pub fn try_grow(&mut self, bytes: u64) -> Result<()> {
        let shared = &self.budget.0;
        let grown =
            shared.reserved_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reserved| {
                reserved.checked_add(bytes).filter(|sum| *sum <= shared.limit_bytes)
            });
        match grown {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(reserved) => Err(Error::new(
                ErrorKind::OverBudget,
                format!(
                    "{} needs {} more, and {} of {} are taken",
                    self.holder,
                    display_bytes(bytes),
                    display_bytes(reserved),
                    display_bytes(shared.limit_bytes)
                ),
            )
            .with_advice("give it more with --memory")),
        }
    }

    /// Gives everything back, and stays ready to grow again.
    pub fn release(&mut self) {
        self.budget.0.reserved_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = 0;
    }

    /// What is reserved now.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release();
    }
}

/// `bytes` for people: binary units, one decimal.
pub fn display_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_is_given_back() {
        let budget = MemoryBudget::for_process(OVERHEAD_BYTES + 100).unwrap();
        let mut held = budget.try_reserve("a test", 60).unwrap();
        assert_eq!(budget.try_reserve("another", 41).unwrap_err().kind(), ErrorKind::OverBudget);
        held.try_grow(40).unwrap();
        assert_eq!(budget.available_bytes(), 0);
        held.try_grow(1).unwrap_err();
        assert_eq!(held.bytes(), 100);
        drop(held);
        assert_eq!(budget.available_bytes(), 100);
    }

    #[test]
    fn bytes_for_people() {
        assert_eq!(display_bytes(1), "1 B");
        assert_eq!(display_bytes(512 << 20), "512.0 MiB");
    }
}
