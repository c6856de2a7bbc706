//! What is compressed, what only seems to be, and what is a bomb.

use std::io::{Cursor, Write};
use std::path::PathBuf;

use async_compression::Level;
use async_compression::tokio::bufread::{
    BzEncoder, DeflateEncoder, GzipEncoder, Lz4Encoder, XzEncoder, ZlibEncoder, ZstdEncoder,
};
use lakefeed::error::{Error, ErrorKind};
use lakefeed::source::{Compression, DecompressOptions, MAGIC_BYTES_MAX, SourceObject};
use lakefeed::store::Stores;
use object_store::ObjectStoreExt;
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};

const FORMATS: [Compression; 9] = [
    Compression::Gzip,
    Compression::Zstd,
    Compression::Bzip2,
    Compression::Xz,
    Compression::Lz4,
    Compression::Snappy,
    Compression::Zlib,
    Compression::Deflate,
    Compression::Zip,
];
const NAMES: [&str; 3] = ["a.csv", "a.csv.lz4", "a.csv.deflate"];
/// Fewer decompressed bytes are no bomb.
const RATIO_JUDGED_BYTES_MIN: usize = 64 << 20;

/// What was read, and what ended it.
type Outcome = (Vec<u8>, Option<Error>);

/// The first bytes choose the format, what is known of it, the limit and the cuts; the rest is the object,
/// or the text of one.
pub fn decompression(data: &[u8]) {
    let Some((knobs, bytes)) = data.split_first_chunk::<5>() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    if knobs[0] & 0x80 == 0 {
        runtime.block_on(any_bytes(knobs, bytes));
    } else {
        runtime.block_on(known_text(knobs, bytes));
    }
}

/// Much more than a feed allows of what is compressed well is a bomb, and ends at the limit.
pub fn bomb() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let text = vec![b'0'; RATIO_JUDGED_BYTES_MIN + 1];
    for (ratio_max, refused) in [(100, true), (1 << 20, false)] {
        let options = DecompressOptions { ratio_max, ..DecompressOptions::default() };
        let stored = runtime.block_on(compressed(Compression::Zstd, &text));
        let (read, error) = runtime.block_on(from_a_store(&stored, NAMES[0], options, 1 << 20));
        assert!(read.len() <= RATIO_JUDGED_BYTES_MIN || !refused);
        assert_eq!(error.is_some(), refused);
    }
}

/// Whatever the bytes are taken for, and however they come, the same is read or they are refused, within
/// the limit.
async fn any_bytes(knobs: &[u8; 5], stored: &[u8]) {
    let name = NAMES[usize::from(knobs[1]) % NAMES.len()];
    let options = DecompressOptions {
        compression: FORMATS.get(usize::from(knobs[0]) % (FORMATS.len() + 1)).copied(),
        bytes_max: 1 << (knobs[2] % 20),
        window_bytes_max: 1 << (10 + knobs[2] / 20),
        ..DecompressOptions::default()
    };
    let bytes = |knob: u8| 1 + usize::from(knob);
    let whole = from_a_store(stored, name, options, 4 << 10).await;
    let cut = from_a_store(stored, name, options, bytes(knobs[3])).await;
    same(&whole, &cut);
    let pieces = in_pieces(stored, name, options, bytes(knobs[4])).await;
    same(&whole, &pieces);
}

/// A text is read as it was, from one member or from two, and never from a part of them.
async fn known_text(knobs: &[u8; 5], text: &[u8]) {
    let format = FORMATS[usize::from(knobs[0] & 0x7F) % FORMATS.len()];
    let options = DecompressOptions { compression: Some(format), ..DecompressOptions::default() };
    let piece_bytes = 1 + usize::from(knobs[1]);
    let stored = compressed(format, text).await;
    if !text.is_empty() {
        assert_eq!(Compression::of(&stored[..stored.len().min(MAGIC_BYTES_MAX)], NAMES[2]), format);
        let (read, error) = in_pieces(&stored, NAMES[2], options, piece_bytes).await;
        assert!(error.is_none() && read == text, "{format:?}: {error:?}");
    }

    let (first, second) = text.split_at(usize::from(knobs[2]) % (text.len() + 1));
    let mut members = compressed(format, first).await;
    members.extend(compressed(format, second).await);
    let (read, error) = in_pieces(&members, NAMES[2], options, piece_bytes).await;
    match format {
        Compression::Zlib | Compression::Deflate | Compression::Zip => assert!(error.is_some()),
        _ => assert!(error.is_none() && read == text, "{format:?}: {error:?}"),
    }

    let length = usize::from(u16::from_le_bytes([knobs[3], knobs[4]])) % stored.len().max(1);
    if length > 0 {
        let (read, error) = in_pieces(&stored[..length], NAMES[2], options, piece_bytes).await;
        // Nothing ends a stream of Snappy: one that is cut between two chunks is whole.
        assert!(error.is_some() || format == Compression::Snappy, "{format:?} cut to {length}");
        assert!(text.starts_with(&read));
    }
}

/// Both were read to their ends and are equal, or both were refused, having been equal so far.
fn same((a, a_error): &Outcome, (b, b_error): &Outcome) {
    assert_eq!(a_error.is_some(), b_error.is_some(), "{a_error:?} but {b_error:?}");
    assert!(if a_error.is_some() { a.starts_with(b) || b.starts_with(a) } else { a == b });
}

/// As an ingest reads it.
async fn from_a_store(
    stored: &[u8],
    name: &str,
    options: DecompressOptions,
    buffer_bytes: usize,
) -> Outcome {
    let location = Stores::new(PathBuf::new()).resolve(&format!("memory:///{name}")).unwrap();
    location.store.put(&location.path, stored.to_vec().into()).await.unwrap();
    let mut reader = SourceObject::head(&location).await.unwrap().open(options);
    let (mut text, mut buffer) = (Vec::new(), vec![0; buffer_bytes]);
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => break (text, None),
            Ok(bytes) => text.extend_from_slice(&buffer[..bytes]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::SourceInvalid, "{error}");
                break (text, Some(error));
            }
        }
        let compressed = reader.compression() != Some(Compression::None);
        assert!(!compressed || text.len() as u64 <= options.bytes_max);
    }
}

/// As it would be read, were it to come in pieces of `piece_bytes`.
async fn in_pieces(
    stored: &[u8],
    name: &str,
    options: DecompressOptions,
    piece_bytes: usize,
) -> Outcome {
    let window_bytes_max = options.window_bytes_max;
    let compression = options.compression.unwrap_or_else(|| Compression::of(stored, name));
    if let Err(error) = compression.check_window(stored, window_bytes_max) {
        return (Vec::new(), Some(error));
    }
    let pieces = BufReader::with_capacity(piece_bytes, Cursor::new(stored.to_vec()));
    let mut decompressor = compression.decompressor(pieces, window_bytes_max);
    let (mut text, mut buffer) = (Vec::new(), [0; 1000]);
    loop {
        match decompressor.read(&mut buffer).await {
            Ok(0) => return (text, None),
            Ok(bytes) => text.extend_from_slice(&buffer[..bytes]),
            Err(error) => return (text, Some(compression.failed(error, window_bytes_max))),
        }
        let size = options.check_size(text.len() as u64, stored.len() as u64);
        if compression != Compression::None && size.is_err() {
            return (text, size.err());
        }
    }
}

async fn compressed(format: Compression, text: &[u8]) -> Vec<u8> {
    match format {
        Compression::None => text.to_vec(),
        Compression::Gzip => read_all(GzipEncoder::new(text)).await,
        Compression::Zstd => read_all(ZstdEncoder::new(text)).await,
        Compression::Bzip2 => read_all(BzEncoder::with_quality(text, Level::Fastest)).await,
        Compression::Xz => read_all(XzEncoder::with_quality(text, Level::Fastest)).await,
        Compression::Lz4 => read_all(Lz4Encoder::new(text)).await,
        Compression::Snappy => {
            let mut encoder = snap::write::FrameEncoder::new(Vec::new());
            encoder.write_all(text).unwrap();
            encoder.into_inner().unwrap()
        }
        Compression::Zlib => read_all(ZlibEncoder::new(text)).await,
        Compression::Deflate => read_all(DeflateEncoder::new(text)).await,
        Compression::Zip => zip(text, &read_all(DeflateEncoder::new(text)).await),
    }
}

async fn read_all(mut reader: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut all = Vec::new();
    reader.read_to_end(&mut all).await.unwrap();
    all
}

/// An archive of one file: APPNOTE.TXT, 4.3.
fn zip(text: &[u8], deflated: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"a";
    let [stored_bytes, bytes] = [deflated, text].map(|part| (part.len() as u32).to_le_bytes());
    let checksum = crc32fast::hash(text).to_le_bytes();
    // The version needed, no flags, the method, no time, the name's length, and no extra fields.
    let header = [b"\x14\0\0\0\x08\0\0\0\0\0", &checksum[..], &stored_bytes, &bytes, b"\x01\0\0\0"];
    let header = header.concat();
    let file = [b"PK\x03\x04", &header[..], NAME, deflated].concat();
    let entry = [b"PK\x01\x02\x14\0", &header[..], &[0; 14], NAME].concat();
    let [entry_bytes, file_bytes] = [&entry, &file].map(|part| (part.len() as u32).to_le_bytes());
    let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0", &entry_bytes[..], &file_bytes, b"\0\0"].concat();
    [file, entry, end].concat()
}
