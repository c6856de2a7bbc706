//! Where in an object a line of its transcoded text is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many lines are remembered that are not where the line before lets one expect them.
const CHECKPOINTS_MAX: usize = 64 << 10;
/// What an [`OffsetMap`] takes at most.
pub const OFFSETS_BYTES_MAX: u64 = (CHECKPOINTS_MAX * size_of::<Checkpoint>()) as u64;

/// From the offset of a line in transcoded text to its offset in the object. What transcodes writes
/// it, and the decoder reads it and says what is not asked for any more.
///
/// Each line has its checkpoint, unless it is where it would be if all text since the checkpoint before
/// it were ASCII. Only the lines that wait to be decoded are remembered. Should there be more than
/// 65,536 of them with checkpoints, as in a huge row of tiny lines, every second one is let go, and the
/// places of those lines are no longer exact.
#[derive(Debug, Clone)]
pub struct OffsetMap(Arc<Mutex<Checkpoints>>);

#[derive(Debug)]
struct Checkpoints {
    /// What a character of ASCII takes in the object, in bytes.
    unit_bytes: u64,
    /// In order, and never empty.
    list: VecDeque<Checkpoint>,
}

#[derive(Debug, Clone, Copy)]
struct Checkpoint {
    text: u64,
    original: u64,
}

impl Checkpoint {
    fn original_of(self, text: u64, unit_bytes: u64) -> u64 {
        self.original + text.saturating_sub(self.text) * unit_bytes
    }
}

impl OffsetMap {
    /// The map of a text that starts at `original` in its object, and of which one character of ASCII
    /// is `unit_bytes` there.
    pub(super) fn new(original: u64, unit_bytes: u64) -> Self {
        let list = VecDeque::from([Checkpoint { text: 0, original }]);
        Self(Arc::new(Mutex::new(Checkpoints { unit_bytes, list })))
    }

    /// Where in the object the line is that starts at `text`, which was not forgotten.
    pub fn original_of(&self, text: u64) -> u64 {
        let Checkpoints { unit_bytes, list } = &*self.lock();
        let after = list.partition_point(|checkpoint| checkpoint.text <= text);
        let before = list.get(after.saturating_sub(1));
        before.map_or(text, |checkpoint| checkpoint.original_of(text, *unit_bytes))
    }

    /// A line starts at `text`, and at `original` in the object. Lines come in order.
    pub(super) fn record(&self, text: u64, original: u64) {
        let Checkpoints { unit_bytes, list } = &mut *self.lock();
        if list.back().is_some_and(|last| last.original_of(text, *unit_bytes) == original) {
            return;
        }
        if list.len() == CHECKPOINTS_MAX {
            let mut keep = false;
            list.retain(|_| {
                keep = !keep;
                keep
            });
        }
        list.push_back(Checkpoint { text, original });
    }

    /// Nothing before `text` will be asked for.
    pub(super) fn forget_before(&self, text: u64) {
        let list = &mut self.lock().list;
        let after = list.partition_point(|checkpoint| checkpoint.text <= text);
        list.drain(..after.saturating_sub(1));
    }

    fn lock(&self) -> MutexGuard<'_, Checkpoints> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_were_not_expected_are_held_and_those_never_without_limit() {
        let map = OffsetMap::new(2, 2);
        let held = || map.lock().list.len();
        for line in 1..1000 {
            map.record(10 * line, 2 + 20 * line);
        }
        assert_eq!((held(), map.original_of(5000)), (1, 10_002));
        let lines = 3 * CHECKPOINTS_MAX as u64;
        for line in 1000..lines {
            map.record(10 * line, 2 + 20 * line - line);
        }
        assert!(held() <= CHECKPOINTS_MAX);
        assert_eq!(map.original_of(10 * (lines - 1)), 2 + 19 * (lines - 1));
        map.forget_before(10 * (lines - 2));
        assert_eq!(held(), 2);
        assert_eq!(map.original_of(10 * (lines - 1)), 2 + 19 * (lines - 1));
    }
}
