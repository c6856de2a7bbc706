//! What the pipeline takes from the outside world.

use std::sync::Arc;

use crate::clock::{Clock, Entropy, TimeBox};
use crate::memory::MemoryBudget;
use crate::store::Stores;

/// Time, randomness, storage and memory: everything that a replay from a seed must replace.
#[derive(Clone)]
pub struct Environment {
    /// Time and resource usage.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<Entropy>,
    /// Storage.
    pub stores: Arc<Stores>,
    /// What people know this process by: its machine and number, or its function and instance.
    pub process: String,
    /// How long this may take; as long as it likes, where nobody stops it.
    pub time_box: Option<TimeBox>,
    /// Memory.
    pub budget: MemoryBudget,
}

impl Environment {
    /// Whether everything should be over.
    pub fn is_over(&self) -> bool {
        self.time_box.is_some_and(|time_box| self.clock.monotonic() >= time_box.ends)
    }
}
