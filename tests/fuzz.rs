//! The corpus of the fuzzer, replayed, and each of its inputs changed a little, always in the same way.

#![allow(clippy::unwrap_used)]

#[path = "../fuzz/checks/mod.rs"]
mod checks;

use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Inputs made of each one of the corpus.
const CHANGES_PER_INPUT: usize = 200;
/// Larger inputs are replayed as they are.
const CHANGED_BYTES_MAX: usize = 64 << 10;

fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(inputs.len() >= 10, "only {} inputs in {}", inputs.len(), folder.display());
    let mut random = StdRng::seed_from_u64(6);
    for input in inputs {
        let bytes = std::fs::read(&input).unwrap();
        check(&bytes);
        if bytes.is_empty() || bytes.len() > CHANGED_BYTES_MAX {
            continue;
        }
        for _ in 0..CHANGES_PER_INPUT {
            check(&changed(&bytes, &mut random));
        }
    }
}

/// With some bytes set, taken out, put in, or said again.
fn changed(bytes: &[u8], random: &mut StdRng) -> Vec<u8> {
    const MARKS: &[u8] = b",;\t|\"'\\\n\r#0-.\0\xFF";
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=bytes.len());
        let mark = MARKS[random.random_range(0..MARKS.len())];
        match random.random_range(0..4) {
            0 if at < bytes.len() => bytes[at] = mark,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => {
                let end = (at + random.random_range(0..80)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => bytes.insert(at, mark),
        }
    }
    bytes
}

#[test]
fn any_bytes_decode_alike_however_they_are_cut() {
    replay("decoder", checks::decoder);
}

#[test]
fn any_bytes_have_a_dialect() {
    replay("detection", checks::detection);
}

#[test]
fn any_bytes_are_an_event_or_refused() {
    replay("event", checks::event);
}

#[test]
fn any_bytes_are_text_of_any_encoding_and_its_lines_are_found() {
    replay("transcoding", checks::transcoding);
}

#[test]
fn any_bytes_are_decompressed_alike_and_within_limits_or_refused() {
    replay("decompression", checks::decompression);
}

#[test]
fn a_bomb_is_refused_by_its_ratio() {
    checks::bomb();
}
