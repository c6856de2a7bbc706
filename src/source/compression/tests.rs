use std::io::Cursor;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, BufReader};

use super::*;

const WINDOW_BYTES_MAX: u64 = 8 << 20;
/// Whose parts are whole objects as well.
const CONCATENATED: [&str; 5] = ["-members", "-frames", "-streams", "snappy", "lz4"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/compressed")
}

fn text() -> Vec<u8> {
    std::fs::read(folder().join("plain.csv")).unwrap()
}

/// The compressed files below `folder`, by name.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path))
        .filter(|(name, _)| !["make.py", "README.md", "plain.csv"].contains(&name.as_str()))
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// What decompressing `stored` gives, taken in pieces of `piece_bytes`.
async fn decompressed(
    compression: Compression,
    stored: &[u8],
    piece_bytes: usize,
) -> Result<Vec<u8>> {
    compression.check_window(stored, WINDOW_BYTES_MAX)?;
    let stored = BufReader::with_capacity(piece_bytes, Cursor::new(stored.to_vec()));
    let mut decompressor = compression.decompressor(stored, WINDOW_BYTES_MAX);
    let mut text = Vec::new();
    let read = decompressor.read_to_end(&mut text).await;
    read.map_err(|error| compression.failed(error, WINDOW_BYTES_MAX))?;
    Ok(text)
}

#[tokio::test]
async fn every_format_is_known_and_read_however_it_is_cut() {
    let text = text();
    let files = files(&folder());
    assert_eq!(files.len(), 22);
    for (name, stored) in files {
        let compression = Compression::of(&stored[..MAGIC_BYTES_MAX], &name);
        assert!(name.starts_with(compression.name()), "{name} is {compression:?}");
        for piece_bytes in [1, 3, 1000, 1 << 20] {
            let read = decompressed(compression, &stored, piece_bytes).await;
            assert!(read.unwrap() == text, "{name} in pieces of {piece_bytes} bytes");
        }
    }
}

#[tokio::test]
async fn what_is_cut_short_is_never_taken_for_whole() {
    let text = text();
    for (name, stored) in files(&folder()) {
        let compression = Compression::of(&stored, &name);
        let last = (stored.len().saturating_sub(40)..stored.len()).rev();
        for length in (1..stored.len()).step_by(61).chain(last) {
            match decompressed(compression, &stored[..length], 512).await {
                Ok(read) => {
                    let may_end = CONCATENATED.iter().any(|part| name.contains(part));
                    let ends_early = read.len() < text.len() && text.starts_with(&read);
                    assert!(may_end && (ends_early || read == text), "{name} cut to {length}");
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::SourceInvalid);
                    let message = error.message();
                    assert!(message.contains("in the middle"), "{name} cut to {length}: {error}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_is_damaged_is_never_read_as_another_text() {
    let text = text();
    for (name, stored) in files(&folder()) {
        // It has no checksum.
        let compression = Compression::of(&stored, &name);
        for position in (0..stored.len()).step_by(13).chain(0..stored.len().min(40)) {
            let mut damaged = stored.clone();
            damaged[position] ^= 0x11;
            let read = decompressed(compression, &damaged, 512).await;
            let same = read.as_ref().map_or(true, |read| *read == text);
            assert!(same || compression == Compression::Deflate, "{name} damaged at {position}");
        }
    }
}

#[tokio::test]
async fn nothing_may_follow_but_more_of_the_same() {
    for (name, mut stored) in files(&folder()) {
        let compression = Compression::of(&stored, &name);
        stored.extend_from_slice(b"more,of,it\n");
        let error = decompressed(compression, &stored, 512).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SourceInvalid, "{name}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_for_its_reason() {
    let refused = folder().join("refused");
    let expected = [
        ("empty.zip", "its zip archive holds no file"),
        ("encrypted.zip", "its zip archive is encrypted"),
        ("method.zip", "its zip archive is compressed by a method other than deflate"),
        ("several.zip", "its zip archive holds several files"),
        ("stored-streamed.zip", "its zip archive does not say beforehand how long its file is"),
        ("streamed-several.zip", "its zip archive holds several files"),
        ("window.xz", "to decompress it, more of it must be held at once, and 8.0 MiB may be"),
        (
            "window.zst",
            "to decompress it, 128.0 MiB of it must be held at once, and 8.0 MiB may be",
        ),
    ];
    let files = files(&refused);
    assert_eq!(files.len(), expected.len());
    for ((name, stored), (expected_name, message)) in files.iter().zip(expected) {
        assert_eq!(name, expected_name);
        let compression = Compression::of(stored, name);
        let error = decompressed(compression, stored, 512).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::SourceInvalid, message), "{name}");
    }
}

#[test]
fn text_is_never_taken_for_compressed() {
    for (first, name) in [
        (&b"BZh1,name"[..], "a.csv"),
        (b"x^y\n1\n", "a.csv"),
        (b"x\x01y\n1\n", "a.csv"),
        (b"PK,name\n", "a.csv.zip"),
        (b"id,name\n", "a.csv.gz"),
        (b"", "a.csv.deflate"),
    ] {
        assert_eq!(Compression::of(first, name), Compression::None, "{name}");
    }
}

#[test]
fn a_bomb_is_refused_by_its_size_or_its_ratio() {
    let options = DecompressOptions { bytes_max: 1 << 30, ..DecompressOptions::default() };
    let check = |decompressed, stored| {
        options.check_size(decompressed, stored).map_err(|error| error.message().to_owned())
    };
    assert_eq!(check(64 << 20, 1), Ok(()));
    assert_eq!(check(1 << 30, 2 << 20), Ok(()));
    let error = check((64 << 20) + 1, 1).unwrap_err();
    assert_eq!(error, "it decompresses to more than 1000 times its size");
    let error = check((1 << 30) + 1, 1 << 30).unwrap_err();
    assert_eq!(error, "it decompresses to more than 1.0 GiB");
}
