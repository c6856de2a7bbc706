//! A zip archive of one file, read from its start to its end, and deflated data that nothing may follow.

use std::io;

use async_compression::tokio::bufread::DeflateDecoder;
use bytes::{Bytes, BytesMut};
use futures::stream;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, Take};

use super::compression::{Decompressor, damaged, of_chunks, unsupported};
use super::snappy::skip;

/// How much is decompressed at once.
const CHUNK_BYTES: usize = 32 << 10;

const FILE: u32 = 0x0403_4B50;
const DESCRIPTOR: u32 = 0x0807_4B50;
const DIRECTORY: u32 = 0x0201_4B50;
const END: u32 = 0x0605_4B50;
const END_64: u32 = 0x0606_4B50;
const END_64_LOCATOR: u32 = 0x0706_4B50;
/// What says that an archive's end is near: entries of its directory, and its end, in their two sizes.
const TAIL: [u32; 4] = [DIRECTORY, END, END_64, END_64_LOCATOR];

/// What a file's header says, behind its signature: APPNOTE.TXT, 4.3.7.
const HEADER_BYTES: usize = 26;
const ENCRYPTED: u16 = 1;
/// Sizes and checksum come after the file.
const DESCRIBED_AFTER: u16 = 1 << 3;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// The size is in the extra field of this kind.
const SIZE_ELSEWHERE: u32 = u32::MAX;
const ZIP64: u16 = 1;

/// What `decoder` gives, and after that nothing may be left of what it reads from.
pub(super) fn only_member<D, R>(decoder: D, into_inner: fn(D) -> R) -> Decompressor
where
    D: AsyncRead + Send + Unpin + 'static,
    R: AsyncBufRead + Send + Unpin + 'static,
{
    let chunks = stream::try_unfold(Some(decoder), move |decoder| async move {
        let Some(mut decoder) = decoder else { return Ok(None) };
        let mut bytes = BytesMut::with_capacity(CHUNK_BYTES);
        if decoder.read_buf(&mut bytes).await? > 0 {
            return Ok(Some((bytes.freeze(), Some(decoder))));
        }
        match into_inner(decoder).fill_buf().await?.is_empty() {
            true => Ok(None),
            false => Err(damaged("something follows its end")),
        }
    });
    of_chunks(chunks)
}

/// The one file of the archive that is `stored`.
pub(super) fn unzip<R: AsyncBufRead + Send + Unpin + 'static>(stored: R) -> Decompressor {
    let chunks =
        stream::try_unfold(Archive::Before(stored), |archive| async { archive.next().await });
    of_chunks(chunks)
}

enum Archive<R> {
    Before(R),
    Within(Box<File<R>>),
}

struct File<R> {
    body: Body<R>,
    header: Header,
    checksum: crc32fast::Hasher,
    bytes: u64,
}

enum Body<R> {
    Stored(Take<R>),
    Deflated(DeflateDecoder<R>),
}

struct Header {
    flags: u16,
    method: u16,
    checksum: u32,
    stored_bytes: u64,
    is_folder: bool,
}

impl<R: AsyncBufRead + Unpin> Archive<R> {
    async fn next(self) -> io::Result<Option<(Bytes, Self)>> {
        let mut file = match self {
            Self::Before(stored) => Box::new(File::open(stored).await?),
            Self::Within(file) => file,
        };
        let mut bytes = BytesMut::with_capacity(CHUNK_BYTES);
        let read = match &mut file.body {
            Body::Stored(body) => body.read_buf(&mut bytes).await?,
            Body::Deflated(body) => body.read_buf(&mut bytes).await?,
        };
        if read == 0 {
            file.close().await?;
            return Ok(None);
        }
        file.checksum.update(&bytes);
        file.bytes += bytes.len() as u64;
        Ok(Some((bytes.freeze(), Self::Within(file))))
    }
}

impl<R: AsyncBufRead + Unpin> File<R> {
    /// Reads up to the first file's content.
    async fn open(mut stored: R) -> io::Result<Self> {
        loop {
            match stored.read_u32_le().await? {
                FILE => {}
                signature if TAIL.contains(&signature) => {
                    return Err(unsupported("archive holds no file"));
                }
                _ => return Err(damaged("it does not begin with a file")),
            }
            let header = Header::read(&mut stored).await?;
            if header.is_folder && header.flags & DESCRIBED_AFTER == 0 {
                skip(&mut stored, header.stored_bytes).await?;
                continue;
            }
            let body = match header.method {
                STORED => Body::Stored(stored.take(header.stored_bytes)),
                _ => Body::Deflated(DeflateDecoder::new(stored)),
            };
            return Ok(Self { body, header, checksum: crc32fast::Hasher::new(), bytes: 0 });
        }
    }

    /// Checks what was read, and that no other file follows, and reads to the archive's end.
    async fn close(self) -> io::Result<()> {
        let mut stored = match self.body {
            Body::Stored(body) if body.limit() > 0 => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Body::Stored(body) => body.into_inner(),
            Body::Deflated(body) => body.into_inner(),
        };
        let mut expected = self.header.checksum;
        let mut signature = stored.read_u32_le().await?;
        if self.header.flags & DESCRIBED_AFTER != 0 {
            // Its signature may be left out.
            expected = match signature {
                DESCRIPTOR => stored.read_u32_le().await?,
                checksum => checksum,
            };
            signature = after_sizes(&mut stored, self.bytes).await?;
        }
        if self.checksum.finalize() != expected {
            return Err(damaged("its checksum is another"));
        }
        while signature == FILE {
            let header = Header::read(&mut stored).await?;
            if !header.is_folder {
                return Err(unsupported("archive holds several files"));
            }
            skip(&mut stored, header.stored_bytes).await?;
            signature = stored.read_u32_le().await?;
        }
        if !TAIL.contains(&signature) {
            return Err(damaged("its directory is missing"));
        }
        read_tail(&mut stored, signature).await
    }
}

/// Passes over a file's sizes, of 32 or of 64 bits, and gives the signature after them.
async fn after_sizes<R: AsyncBufRead + Unpin>(stored: &mut R, bytes: u64) -> io::Result<u32> {
    let (_stored_bytes, size) = (stored.read_u32_le().await?, stored.read_u32_le().await?);
    let next = stored.read_u32_le().await?;
    if u64::from(size) == bytes & u64::from(u32::MAX) && (TAIL.contains(&next) || next == FILE) {
        return Ok(next);
    }
    let _high_half = stored.read_u32_le().await?;
    if u64::from(next) != bytes & u64::from(u32::MAX) {
        return Err(damaged("its size is another"));
    }
    stored.read_u32_le().await
}

/// Reads the directory to the record that ends it, and the comment that may follow.
async fn read_tail<R: AsyncBufRead + Unpin>(stored: &mut R, mut signature: u32) -> io::Result<()> {
    const ENTRY_BYTES: usize = 42;
    const END_BYTES: usize = 18;
    const END_64_LOCATOR_BYTES: u64 = 16;
    loop {
        match signature {
            DIRECTORY => {
                let mut entry = [0; ENTRY_BYTES];
                stored.read_exact(&mut entry).await?;
                let lengths = [24, 26, 28].map(|at| u64::from(u16_at(&entry, at)));
                skip(stored, lengths.iter().sum()).await?;
            }
            END => {
                let mut end = [0; END_BYTES];
                stored.read_exact(&mut end).await?;
                skip(stored, u64::from(u16_at(&end, 16))).await?;
                return match stored.fill_buf().await?.is_empty() {
                    true => Ok(()),
                    false => Err(damaged("something follows its end")),
                };
            }
            END_64 => {
                let bytes = stored.read_u64_le().await?;
                skip(stored, bytes).await?;
            }
            END_64_LOCATOR => skip(stored, END_64_LOCATOR_BYTES).await?,
            _ => return Err(damaged("its directory is damaged")),
        }
        signature = stored.read_u32_le().await?;
    }
}

impl Header {
    /// Reads a file's header, its name and its extra fields, from behind the signature.
    async fn read<R: AsyncBufRead + Unpin>(stored: &mut R) -> io::Result<Self> {
        let mut fixed = [0; HEADER_BYTES];
        stored.read_exact(&mut fixed).await?;
        let (flags, method) = (u16_at(&fixed, 2), u16_at(&fixed, 4));
        let mut name = vec![0; usize::from(u16_at(&fixed, 22))];
        stored.read_exact(&mut name).await?;
        let mut extra = vec![0; usize::from(u16_at(&fixed, 24))];
        stored.read_exact(&mut extra).await?;
        let stored_bytes = match u32_at(&fixed, 14) {
            SIZE_ELSEWHERE => {
                zip64_stored_bytes(&extra).ok_or_else(|| damaged("a file's size is missing"))?
            }
            bytes => u64::from(bytes),
        };
        if flags & ENCRYPTED != 0 {
            return Err(unsupported("archive is encrypted"));
        }
        if method != STORED && method != DEFLATED {
            return Err(unsupported("archive is compressed by a method other than deflate"));
        }
        let is_folder = name.ends_with(b"/");
        if method == STORED && flags & DESCRIBED_AFTER != 0 && !is_folder {
            return Err(unsupported("archive does not say beforehand how long its file is"));
        }
        Ok(Self { flags, method, checksum: u32_at(&fixed, 10), stored_bytes, is_folder })
    }
}

/// The size as stored, in the extra field for sizes of 64 bits.
fn zip64_stored_bytes(mut extra: &[u8]) -> Option<u64> {
    while let Some((head, rest)) = extra.split_first_chunk::<4>() {
        let length = usize::from(u16_at(head, 2));
        let field = rest.get(..length)?;
        if u16_at(head, 0) == ZIP64 {
            return field.get(8..16)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        }
        extra = &rest[length..];
    }
    None
}

/// The number of 16 bits at `at`, which is within `bytes`.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}
