//! A lease on a local file system.
//!
//! The holder keeps the record's file locked (`flock`), and the operating system drops that lock
//! when the holder dies: a crashed run holds up nobody. One that is alive, but does not renew, loses
//! its lease to a new file of the same name.
//!
//! A file's content and its name cannot be changed on condition. So each change is made while
//! another file, the *mutex*, is locked, which takes microseconds.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{Acquisition, Claim, Lease, LeaseStore, RECORD_BYTES_MAX, Renewal, Sighting};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};

/// How often a locked mutex is tried. Somebody who was stopped may hold it, and then we do without.
const MUTEX_TRIES_MAX: u32 = 100;
/// The wait between two tries.
const MUTEX_WAIT: Duration = Duration::from_millis(10);

/// A lease whose record is one local file.
pub struct FileLease {
    uri: String,
    path: PathBuf,
    clock: Arc<dyn Clock>,
    sighting: Sighting,
    /// The record that we hold, locked.
    held: Mutex<Option<File>>,
}

/// A record, and whether its holder is alive.
struct Seen {
    file: File,
    lease: Option<Lease>,
    is_locked: bool,
}

impl FileLease {
    /// The lease whose record is the file at `path`.
    pub fn new(path: PathBuf, clock: Arc<dyn Clock>) -> Self {
        let uri = format!("file://{}", path.display());
        Self { uri, path, clock, sighting: Sighting::default(), held: Mutex::default() }
    }

    /// Does `change` while nobody else changes anything.
    async fn exclusively<T>(&self, change: impl FnOnce() -> io::Result<T>) -> Result<T> {
        let mutex = self.open_mutex().map_err(|cause| self.failed(cause))?;
        for _ in 0..MUTEX_TRIES_MAX {
            match mutex.try_lock() {
                // It is unlocked when it is dropped, at the end.
                Ok(()) => return change().map_err(|cause| self.failed(cause)),
                Err(TryLockError::WouldBlock) => self.clock.sleep(MUTEX_WAIT).await,
                Err(TryLockError::Error(cause)) => return Err(self.failed(cause)),
            }
        }
        Err(Error::new(ErrorKind::StorageUnavailable, "somebody keeps the lease's file locked")
            .with_object(mutex_of(&self.path).display().to_string())
            .with_advice("look for a process that was stopped in the middle of something"))
    }

    fn open_mutex(&self) -> io::Result<File> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        File::options().create(true).append(true).open(mutex_of(&self.path))
    }

    fn failed(&self, cause: io::Error) -> Error {
        Error::new(ErrorKind::StorageUnavailable, "the lease's file cannot be read or written")
            .with_object(&self.uri)
            .with_cause(cause)
            .with_advice("check who may write to its folder")
    }

    fn look(&self) -> io::Result<Seen> {
        let mut file =
            File::options().create(true).truncate(false).read(true).write(true).open(&self.path)?;
        let mut bytes = Vec::new();
        (&mut file).take(RECORD_BYTES_MAX).read_to_end(&mut bytes)?;
        let is_locked = match file.try_lock() {
            Ok(()) => false,
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(cause)) => return Err(cause),
        };
        Ok(Seen { file, lease: Lease::from_json(&bytes), is_locked })
    }

    /// Puts another file in the record's place: whoever holds the old one, holds nothing any more.
    fn replace(&self, lease: &Lease) -> io::Result<File> {
        let next = self.path.with_extension("next");
        let mut file = File::options().create(true).truncate(true).write(true).open(&next)?;
        file.lock()?;
        file.write_all(&lease.to_json())?;
        fs::rename(next, &self.path)?;
        Ok(file)
    }

    fn acquire_now(&self, claim: &Claim) -> io::Result<Acquisition> {
        let Seen { mut file, lease, is_locked } = self.look()?;
        let held = lease.as_ref().filter(|lease| lease.is_held() && is_locked);
        match held {
            Some(held) if held.owner == claim.owner => {
                return Ok(Acquisition::Acquired(held.clone()));
            }
            Some(held) if !self.sighting.has_expired(held, self.clock.as_ref()) => {
                return Ok(Acquisition::Held(held.clone()));
            }
            _ => {}
        }
        let next = Lease::next(claim, lease.as_ref(), self.clock.now());
        if is_locked {
            file = self.replace(&next)?;
        } else {
            overwrite(&mut file, &next)?;
        }
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(Acquisition::Acquired(next))
    }

    /// Makes of the record what `change` makes of it, if it is still `lease`.
    fn change_own(
        &self,
        lease: &Lease,
        change: impl FnOnce(&Lease) -> Lease,
    ) -> io::Result<Option<Lease>> {
        let Seen { mut file, lease: record, .. } = self.look()?;
        let Some(next) = record.filter(|record| record.continues(lease)).map(|old| change(&old))
        else {
            return Ok(None);
        };
        overwrite(&mut file, &next)?;
        Ok(Some(next))
    }

    fn let_go(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn mutex_of(path: &std::path::Path) -> PathBuf {
    path.with_extension("mutex")
}

fn overwrite(file: &mut File, lease: &Lease) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&lease.to_json())
}

#[async_trait]
impl LeaseStore for FileLease {
    fn uri(&self) -> &str {
        &self.uri
    }

    async fn acquire(&self, claim: &Claim) -> Result<Acquisition> {
        self.exclusively(|| self.acquire_now(claim)).await
    }

    async fn renew(&self, lease: &Lease) -> Result<Renewal> {
        let renew = || self.change_own(lease, |record| record.renewed(self.clock.now()));
        Ok(self.exclusively(renew).await?.map_or(Renewal::Lost, Renewal::Renewed))
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let end = || self.change_own(lease, |record| record.ended(self.clock.now()));
        let ended = self.exclusively(end).await;
        self.let_go();
        ended.map(drop)
    }

    async fn inspect(&self) -> Result<Option<Lease>> {
        if !self.path.exists() {
            return Ok(None);
        }
        let Seen { lease, is_locked, .. } = self.exclusively(|| self.look()).await?;
        Ok(lease.filter(|lease| lease.is_held() && is_locked))
    }

    async fn break_(&self) -> Result<Option<Lease>> {
        if !self.path.exists() {
            return Ok(None);
        }
        self.exclusively(|| {
            let Seen { lease, is_locked, .. } = self.look()?;
            let held = lease.filter(|lease| lease.is_held() && is_locked);
            if let Some(held) = &held {
                self.replace(&held.ended(self.clock.now()))?;
            }
            Ok(held)
        })
        .await
    }
}
