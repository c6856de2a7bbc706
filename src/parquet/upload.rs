//! One object, uploaded part by part in bounded memory.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::error::{Error, ErrorKind, Result};
use crate::store::storage_error;

/// Encoded bytes are held in pieces of this size, so that they never move as they accumulate.
const PIECE_BYTES: usize = 256 << 10;

/// What one permit of [`UploadSlots`] stands for.
const SLOT_BYTES: usize = 64 << 10;

/// However small the objects, no more of them than this are sent at once per part in flight.
const SMALL_OBJECTS_PER_PART: usize = 8;

/// Encoded bytes on their way from the encoder to the store.
#[derive(Debug, Default)]
pub(super) struct PartBuffer {
    full: VecDeque<Bytes>,
    open: Vec<u8>,
    bytes: usize,
}

impl PartBuffer {
    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// What holding them takes.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes - self.open.len() + self.open.capacity()
    }

    /// Takes the first `bytes` of what waits, or everything where that is less.
    fn take(&mut self, bytes: usize) -> PutPayload {
        let mut missing = bytes.min(self.bytes);
        self.bytes -= missing;
        let mut pieces = Vec::new();
        while missing > 0 {
            let mut piece = match self.full.pop_front() {
                Some(piece) => piece,
                None => Bytes::from(std::mem::take(&mut self.open)),
            };
            if piece.len() > missing {
                self.full.push_front(piece.split_off(missing));
            }
            missing -= piece.len();
            pieces.push(piece);
        }
        pieces.into_iter().collect()
    }
}

impl io::Write for PartBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.open.len() == self.open.capacity() {
            let piece = std::mem::replace(&mut self.open, Vec::with_capacity(PIECE_BYTES));
            if !piece.is_empty() {
                self.full.push_back(piece.into());
            }
        }
        let taken = bytes.len().min(self.open.capacity() - self.open.len());
        self.open.extend_from_slice(&bytes[..taken]);
        self.bytes += taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What all uploads of one writer together may have in flight. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct UploadSlots {
    permits: Arc<Semaphore>,
    permits_max: u32,
    permits_min: u32,
}

impl UploadSlots {
    /// Room for `parts` parts of `part_bytes`.
    pub(super) fn new(part_bytes: usize, parts: usize) -> Self {
        let part_permits = part_bytes.div_ceil(SLOT_BYTES);
        let permits_max = u32::try_from(part_permits * parts).unwrap_or(u32::MAX >> 4);
        let permits_min = u32::try_from(part_permits / SMALL_OBJECTS_PER_PART).unwrap_or(1).max(1);
        let permits = Arc::new(Semaphore::new(permits_max as usize));
        Self { permits, permits_max, permits_min }
    }

    /// Waits until `bytes` more may be in flight.
    async fn acquire(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let wanted = u32::try_from(bytes.div_ceil(SLOT_BYTES)).unwrap_or(u32::MAX);
        let permits = wanted.max(self.permits_min).min(self.permits_max);
        Arc::clone(&self.permits).acquire_many_owned(permits).await.map_err(|closed| {
            Error::new(ErrorKind::Internal, "the upload slots were closed").with_cause(closed)
        })
    }
}

/// One object on its way to the store.
///
/// The first full part starts a multipart upload; an object smaller than a part is one plain,
/// create-only PUT. Nothing is visible under the object's name before [`Upload::finish`].
///
/// An upload that is dropped without [`Upload::finish`] or [`Upload::abort`], as in a process that
/// is killed, leaves parts behind which no listing shows: S3 and Google keep them until a lifecycle
/// rule for incomplete uploads removes them, Azure for a week, and the local store as a file whose
/// name ends in `#` and a number.
#[derive(Debug)]
pub(super) struct Upload {
    store: Arc<dyn ObjectStore>,
    path: Path,
    part_bytes: usize,
    slots: UploadSlots,
    multipart: Option<Box<dyn MultipartUpload>>,
    parts: JoinSet<object_store::Result<()>>,
    /// Whether the object may have become visible, even if the store said that it failed.
    maybe_visible: bool,
}

/// The end of an object, and the room to have it in flight.
pub(super) struct LastPart {
    payload: PutPayload,
    room: OwnedSemaphorePermit,
}

impl Upload {
    /// An upload to `path`; nothing is sent yet.
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        path: Path,
        part_bytes: usize,
        slots: UploadSlots,
    ) -> Self {
        Self {
            store,
            path,
            part_bytes,
            slots,
            multipart: None,
            parts: JoinSet::new(),
            maybe_visible: false,
        }
    }

    /// Sends every full part that waits in `buffer`, as soon as there is room in flight.
    ///
    /// # Errors
    /// [`ErrorKind::StorageUnavailable`], for this part or an earlier one.
    pub(super) async fn send_full_parts(&mut self, buffer: &mut PartBuffer) -> Result<()> {
        while buffer.len() >= self.part_bytes {
            let room = self.slots.acquire(self.part_bytes).await?;
            self.send(LastPart { payload: buffer.take(self.part_bytes), room }).await?;
        }
        Ok(())
    }

    /// Takes what is left in `buffer`, less than a part, once there is room for it in flight.
    pub(super) async fn take_last(&mut self, buffer: &mut PartBuffer) -> Result<LastPart> {
        self.send_full_parts(buffer).await?;
        let room = self.slots.acquire(buffer.len()).await?;
        Ok(LastPart { payload: buffer.take(self.part_bytes), room })
    }

    /// Sends the end and makes the object durable and visible under its name.
    ///
    /// # Errors
    /// [`ErrorKind::StorageUnavailable`]; the upload was aborted then.
    pub(super) async fn finish(mut self, last: LastPart) -> Result<()> {
        let outcome = self.publish(last).await;
        if outcome.is_err() {
            self.abort().await;
        }
        outcome
    }

    async fn publish(&mut self, last: LastPart) -> Result<()> {
        if self.multipart.is_none() {
            return self.put_whole(last).await;
        }
        if last.payload.content_length() > 0 {
            self.send(last).await?;
        }
        while let Some(sent) = self.parts.join_next().await {
            self.check(sent)?;
        }
        self.maybe_visible = true;
        if let Some(multipart) = &mut self.multipart {
            let completed = multipart.complete().await;
            completed.map_err(|error| storage_error(self.path.as_ref(), error))?;
        }
        self.multipart = None;
        Ok(())
    }

    async fn put_whole(&mut self, whole: LastPart) -> Result<()> {
        let bytes = whole.payload.content_length() as u64;
        self.maybe_visible = true;
        let options = PutOptions::from(PutMode::Create);
        let error = match self.store.put_opts(&self.path, whole.payload, options).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        // The store's client repeats a PUT whose answer was lost, and then meets its own object.
        if matches!(error, object_store::Error::AlreadyExists { .. })
            && self.store.head(&self.path).await.is_ok_and(|found| found.size == bytes)
        {
            return Ok(());
        }
        Err(storage_error(self.path.as_ref(), error))
    }

    async fn send(&mut self, part: LastPart) -> Result<()> {
        while let Some(sent) = self.parts.try_join_next() {
            self.check(sent)?;
        }
        let multipart = match &mut self.multipart {
            Some(multipart) => multipart,
            none => {
                let started = self.store.put_multipart(&self.path).await;
                none.insert(started.map_err(|error| storage_error(self.path.as_ref(), error))?)
            }
        };
        let sending = multipart.put_part(part.payload);
        let room = part.room;
        self.parts.spawn(async move {
            let sent = sending.await;
            drop(room);
            sent
        });
        Ok(())
    }

    fn check(&self, sent: Result<object_store::Result<()>, tokio::task::JoinError>) -> Result<()> {
        sent.map_err(object_store::Error::from)
            .and_then(|sent| sent)
            .map_err(|error| storage_error(self.path.as_ref(), error))
    }

    /// Gives up: nothing stays in the store, as far as the store lets us.
    pub(super) async fn abort(&mut self) {
        // A part that lands after the abort would stay for good, so each is waited for.
        while self.parts.join_next().await.is_some() {}
        if let Some(mut multipart) = self.multipart.take()
            && let Err(error) = multipart.abort().await
        {
            tracing::warn!(object = %self.path, %error, "an upload could not be aborted");
        }
        if self.maybe_visible {
            delete(self.store.as_ref(), &self.path).await;
        }
    }
}

/// Deletes an object that no table names; best effort.
pub(super) async fn delete(store: &dyn ObjectStore, path: &Path) {
    match store.delete(path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
        Err(error) => tracing::warn!(object = %path, %error, "a data file could not be deleted"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_buffer_gives_back_what_it_took_in_parts_of_any_size() {
        let bytes: Vec<u8> = (0..PIECE_BYTES * 3 + 17).map(|i| (i % 251) as u8).collect();
        for part_bytes in [1000, PIECE_BYTES, PIECE_BYTES + 1, bytes.len() * 2] {
            let mut buffer = PartBuffer::default();
            let mut back = Vec::new();
            for written in bytes.chunks(100_000) {
                buffer.write_all(written).unwrap();
                while buffer.len() >= part_bytes {
                    let part = buffer.take(part_bytes);
                    assert_eq!(part.content_length(), part_bytes);
                    part.iter().for_each(|piece| back.extend_from_slice(piece));
                }
            }
            buffer.take(usize::MAX).iter().for_each(|piece| back.extend_from_slice(piece));
            assert_eq!(buffer.len(), 0);
            assert!(back == bytes, "parts of {part_bytes}");
        }
    }
}
