//! Snappy in frames: <https://github.com/google/snappy/blob/main/framing_format.txt>.

use std::io::{self, Cursor, Read};

use bytes::Bytes;
use futures::stream;
use snap::read::FrameDecoder;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

use super::compression::{Decompressor, damaged, of_chunks};

/// The most that a chunk decompresses to.
const CHUNK_BYTES_MAX: usize = 64 << 10;
/// The longest chunk that holds data, compressed in vain.
const STORED_CHUNK_BYTES_MAX: usize = 80 << 10;
const HEADER_BYTES: usize = 4;
/// From here on chunks are to be passed over, if they are not the stream's identifier.
const SKIPPED_FROM: u8 = 0x80;
const IDENTIFIER: u8 = 0xFF;

struct Frames<R> {
    stored: R,
    /// Is given one whole chunk after the other.
    decoder: FrameDecoder<Cursor<Vec<u8>>>,
}

/// The decompressed bytes of `stored`.
pub(super) fn decompressor<R>(stored: R) -> Decompressor
where
    R: AsyncBufRead + Send + Unpin + 'static,
{
    let frames = Frames { stored, decoder: FrameDecoder::new(Cursor::default()) };
    let chunks = stream::try_unfold(frames, |mut frames| async {
        Ok(frames.next().await?.map(|bytes| (bytes, frames)))
    });
    of_chunks(chunks)
}

impl<R: AsyncBufRead + Unpin> Frames<R> {
    /// The next chunk's bytes, which are never none; nothing at the end.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.stored.fill_buf().await?.is_empty() {
                return Ok(None);
            }
            let mut header = [0; HEADER_BYTES];
            self.stored.read_exact(&mut header).await?;
            let [kind, length @ ..] = header;
            let length =
                usize::from(length[0]) | usize::from(length[1]) << 8 | usize::from(length[2]) << 16;
            if (SKIPPED_FROM..IDENTIFIER).contains(&kind) {
                skip(&mut self.stored, length as u64).await?;
                continue;
            }
            if length > STORED_CHUNK_BYTES_MAX {
                return Err(damaged("a chunk is too long"));
            }
            let chunk = self.decoder.get_mut();
            chunk.set_position(0);
            let chunk = chunk.get_mut();
            chunk.clear();
            chunk.extend_from_slice(&header);
            chunk.resize(HEADER_BYTES + length, 0);
            self.stored.read_exact(&mut chunk[HEADER_BYTES..]).await?;
            let mut bytes = Vec::with_capacity(CHUNK_BYTES_MAX);
            // It holds the whole chunk: should it end in the middle, the chunk is damaged.
            let read = self.decoder.read_to_end(&mut bytes);
            read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if !bytes.is_empty() {
                return Ok(Some(bytes.into()));
            }
        }
    }
}

/// Passes over `bytes`.
pub(super) async fn skip<R: AsyncBufRead + Unpin>(stored: &mut R, bytes: u64) -> io::Result<()> {
    let skipped = tokio::io::copy_buf(&mut stored.take(bytes), &mut tokio::io::sink()).await?;
    if skipped < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}
