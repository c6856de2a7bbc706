//! How an object is compressed, and what undoes it.

use std::io;
use std::pin::Pin;

use async_compression::tokio::bufread::{
    BzDecoder, DeflateDecoder, GzipDecoder, Lz4Decoder, XzDecoder, ZlibDecoder, ZstdDecoder,
};
use async_compression::zstd::DParameter;
use bytes::Bytes;
use futures::stream::{Stream, StreamExt};
use serde::Deserialize;
use tokio::io::{AsyncBufRead, AsyncRead};
use tokio_util::io::StreamReader;

use super::archive::{only_member, unzip};
use super::snappy;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::display_bytes;

/// What a decompressor takes beside its window: liblzma's tables, the buffers of zstd and of lz4, whose
/// own are of fixed size.
const DECOMPRESSOR_BYTES: u64 = 3 << 19;
/// Fewer decompressed bytes are no bomb, however few they were before.
const RATIO_JUDGED_BYTES_MIN: u64 = 64 << 20;
/// How many bytes at an object's start tell its compression.
pub const MAGIC_BYTES_MAX: usize = 18;

/// Something that gives an object's decompressed bytes.
pub type Decompressor = Pin<Box<dyn AsyncRead + Send>>;

/// What a feed says of its objects' compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecompressOptions {
    /// The compression; where it is absent, each object tells its own.
    pub compression: Option<Compression>,
    /// The most that an object may be decompressed.
    pub bytes_max: u64,
    /// The most that it may be, as a multiple of what it is compressed, if it is more than 64 MiB.
    pub ratio_max: u64,
    /// The most of its text that a decompressor may look back at, and hold for that.
    pub window_bytes_max: u64,
}

impl Default for DecompressOptions {
    fn default() -> Self {
        Self { compression: None, bytes_max: 64 << 30, ratio_max: 1000, window_bytes_max: 8 << 20 }
    }
}

impl DecompressOptions {
    /// The most that a decompressor holds.
    pub fn held_bytes_max(&self) -> u64 {
        self.window_bytes_max + DECOMPRESSOR_BYTES
    }

    /// Refuses what is a bomb, so far: `decompressed` bytes that were `stored` ones.
    ///
    /// # Errors
    /// [`ErrorKind::SourceInvalid`].
    pub fn check_size(&self, decompressed: u64, stored: u64) -> Result<()> {
        let refuse = |limit: String, option: &str| {
            Err(Error::new(
                ErrorKind::SourceInvalid,
                format!("it decompresses to more than {limit}"),
            )
            .with_advice(format!("if it is meant to, raise {option}")))
        };
        if decompressed > self.bytes_max {
            return refuse(display_bytes(self.bytes_max), "decompressed_bytes_max");
        }
        let most = stored.saturating_mul(self.ratio_max).max(RATIO_JUDGED_BYTES_MIN);
        if decompressed > most {
            let limit = format!("{} times its size", self.ratio_max);
            return refuse(limit, "decompressed_ratio_max");
        }
        Ok(())
    }
}

/// How an object is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// Gzip, of one or several members.
    Gzip,
    /// Zstandard, of one or several frames.
    Zstd,
    /// Bzip2, of one or several streams.
    Bzip2,
    /// Xz, of one or several streams.
    Xz,
    /// LZ4 in frames.
    Lz4,
    /// Snappy in frames.
    Snappy,
    /// Zlib.
    Zlib,
    /// Deflate without anything around it.
    Deflate,
    /// A zip archive of one file.
    Zip,
}

impl Compression {
    /// The compression that an object of this name and with these first bytes has. The bytes decide:
    /// a name's ending can lie, and none of these magic numbers begins a text in UTF-8. Deflate has
    /// none, and zlib's is text at rare levels: there the ending decides.
    pub fn of(first: &[u8], name: &str) -> Self {
        const MAGIC: [(&[u8], Compression); 9] = [
            (b"\x1F\x8B", Compression::Gzip),
            (b"\x28\xB5\x2F\xFD", Compression::Zstd),
            (b"\xFD7zXZ\0", Compression::Xz),
            (b"\x04\x22\x4D\x18", Compression::Lz4),
            (b"\xFF\x06\0\0sNaPpY", Compression::Snappy),
            (b"PK\x03\x04", Compression::Zip),
            (b"PK\x05\x06", Compression::Zip),
            (b"x\x9C", Compression::Zlib),
            (b"x\xDA", Compression::Zlib),
        ];
        let magic = MAGIC.iter().find(|(magic, _)| first.starts_with(magic));
        let name = name.to_ascii_lowercase();
        let has_ending = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        match first {
            _ if magic.is_some() => magic.map_or(Self::None, |(_, compression)| *compression),
            [b'B', b'Z', b'h', b'1'..=b'9', block @ ..]
                if block.starts_with(b"1AY&SY") || block.starts_with(b"\x17rE8P\x90") =>
            {
                Self::Bzip2
            }
            // A frame to be skipped, before the first.
            [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] if has_ending(&[".lz4"]) => Self::Lz4,
            [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Self::Zstd,
            [] => Self::None,
            _ if !has_ending(&[".deflate", ".zlib", ".zz"]) => Self::None,
            [method @ (0x08 | 0x18 | 0x28 | 0x38 | 0x48 | 0x58 | 0x68 | 0x78), flags, ..]
                if u16::from_be_bytes([*method, *flags]).is_multiple_of(31) =>
            {
                Self::Zlib
            }
            _ => Self::Deflate,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Lz4 => "lz4",
            Self::Snappy => "snappy",
            Self::Zlib => "zlib",
            Self::Deflate => "deflate",
            Self::Zip => "zip",
        }
    }

    /// The decompressed bytes of `stored`. An error while they are read is the storage's own, or one
    /// that [`Compression::failed`] explains: they are cut, damaged, or not supported.
    pub fn decompressor<R>(self, stored: R, window_bytes_max: u64) -> Decompressor
    where
        R: AsyncBufRead + Send + Unpin + 'static,
    {
        macro_rules! members {
            ($decoder:expr) => {{
                let mut decoder = $decoder;
                decoder.multiple_members(true);
                Box::pin(decoder)
            }};
        }
        match self {
            Self::None => Box::pin(stored),
            Self::Gzip => members!(GzipDecoder::new(stored)),
            Self::Zstd => {
                let window = [DParameter::window_log_max(window_bytes_max.max(1 << 10).ilog2())];
                members!(ZstdDecoder::with_params(stored, &window))
            }
            Self::Bzip2 => members!(BzDecoder::new(stored)),
            Self::Xz => {
                members!(XzDecoder::with_mem_limit(stored, window_bytes_max + DECOMPRESSOR_BYTES))
            }
            Self::Lz4 => members!(Lz4Decoder::new(stored)),
            Self::Snappy => snappy::decompressor(stored),
            Self::Zlib => only_member(ZlibDecoder::new(stored), ZlibDecoder::into_inner),
            Self::Deflate => only_member(DeflateDecoder::new(stored), DeflateDecoder::into_inner),
            Self::Zip => unzip(stored),
        }
    }

    /// Refuses an object that begins with `first` and would take a larger window.
    ///
    /// # Errors
    /// [`ErrorKind::SourceInvalid`].
    pub fn check_window(self, first: &[u8], window_bytes_max: u64) -> Result<()> {
        match zstd_window_bytes(first) {
            Some(window) if self == Self::Zstd && window > window_bytes_max => {
                Err(window_too_large(&format!("{} of it", display_bytes(window)), window_bytes_max))
            }
            _ => Ok(()),
        }
    }

    /// What is wrong with the object, where reading it from a [`Compression::decompressor`] failed.
    pub fn failed(self, error: io::Error, window_bytes_max: u64) -> Error {
        let name = self.name();
        let kind = error.kind();
        let inner = error.get_ref();
        if let Some(Unsupported(what)) = inner.and_then(|inner| inner.downcast_ref()) {
            return Error::new(ErrorKind::SourceInvalid, format!("its {name} {what}"))
                .with_advice("put one CSV file alone into it, by deflate and without a password");
        }
        let lzma = inner.and_then(|inner| inner.downcast_ref::<liblzma::stream::Error>());
        if matches!(lzma, Some(liblzma::stream::Error::MemLimit)) {
            return window_too_large("more of it", window_bytes_max);
        }
        let how = match kind {
            io::ErrorKind::UnexpectedEof => "ends in the middle",
            _ => "is damaged, or ends in the middle",
        };
        Error::new(ErrorKind::SourceInvalid, format!("its {name} compression {how}"))
            .with_advice("upload the whole file again")
            .with_cause(error)
    }
}

/// What a compressed object has that is not read, as a clause that goes on from its format's name.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unsupported(pub(super) &'static str);

/// What gives these chunks, one after the other.
pub(super) fn of_chunks(
    chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Decompressor {
    Box::pin(StreamReader::new(chunks.boxed()))
}

pub(super) fn unsupported(what: &'static str) -> io::Error {
    io::Error::other(Unsupported(what))
}

pub(super) fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn window_too_large(needed: &str, window_bytes_max: u64) -> Error {
    let most = display_bytes(window_bytes_max);
    let message = format!("to decompress it, {needed} must be held at once, and {most} may be");
    Error::new(ErrorKind::SourceInvalid, message)
        .with_advice("raise decompress_window_bytes_max, or compress it at a lower level")
}

/// The window that the first frame asks for, if it says so: RFC 8878, 3.1.1.1.
fn zstd_window_bytes(first: &[u8]) -> Option<u64> {
    const MAGIC: &[u8] = b"\x28\xB5\x2F\xFD";
    const DICTIONARY_ID_BYTES: [usize; 4] = [0, 1, 2, 4];
    let (&descriptor, rest) = first.strip_prefix(MAGIC)?.split_first()?;
    if descriptor & 0x20 == 0 {
        let window = *rest.first()?;
        let base = 1_u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    let size = rest.get(DICTIONARY_ID_BYTES[usize::from(descriptor & 3)]..)?;
    Some(match descriptor >> 6 {
        0 => u64::from(*size.first()?),
        1 => u64::from(u16::from_le_bytes(*size.first_chunk()?)) + 256,
        2 => u64::from(u32::from_le_bytes(*size.first_chunk()?)),
        _ => u64::from_le_bytes(*size.first_chunk()?),
    })
}

#[cfg(test)]
mod tests;
