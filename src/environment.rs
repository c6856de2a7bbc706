//! What the pipeline takes from the outside world, and how a process comes by it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStoreExt;
use tokio::runtime::{Builder, Runtime};

use crate::clock::{Clock, Entropy, SystemClock, TimeBox};
use crate::config::{
    AwsAccess, AwsVariables, CONFIGURATION_BYTES_MAX, Origin, Settings, TEXT_VARIABLE, memory_limit,
};
use crate::error::{Error, ErrorKind, Result};
use crate::ledger;
use crate::memory::MemoryBudget;
use crate::store::{Stores, misdirected};

/// Threads that run tasks; reading and writing files have threads of their own.
const WORKER_THREADS: usize = 1;
/// Threads that wait for files: reading ahead, uploading, and the table's log. Each keeps what it
/// has freed for its own later use, so more of them cost memory.
const BLOCKING_THREADS_MAX: usize = 3;

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
    /// When a ledger's files are put together.
    pub ledger: ledger::Limits,
}

impl Environment {
    /// The machine's, for the process that people know by `process`, whose relative paths start at
    /// `directory`. `memory_bytes` is what the command line says that it may use. No store is opened
    /// yet.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] where it is said wrongly how much memory there is, and
    /// [`ErrorKind::OverBudget`] where that is too little for any work.
    pub fn of_process(
        process: String,
        settings: &Settings,
        directory: PathBuf,
        memory_bytes: Option<u64>,
    ) -> Result<Self> {
        let (memory_bytes, origin) = memory_limit(memory_bytes, settings)?;
        tracing::info!(memory_bytes, %origin, "memory budget");
        Ok(Self {
            clock: Arc::new(SystemClock::default()),
            entropy: Arc::new(Entropy::from_system()),
            stores: Arc::new(stores(directory, settings)),
            process,
            time_box: None,
            budget: MemoryBudget::for_process(memory_bytes)?,
            ledger: ledger::Limits::default(),
        })
    }

    /// Whether at least `min` is left.
    pub fn has_time(&self, min: Duration) -> bool {
        let left = |ends: Duration| ends.saturating_sub(self.clock.monotonic());
        self.time_box.is_none_or(|time_box| left(time_box.ends) >= min)
    }

    /// Whether everything should be over.
    pub fn is_over(&self) -> bool {
        self.time_box.is_some_and(|time_box| self.clock.monotonic() >= time_box.ends)
    }
}

fn stores(directory: PathBuf, settings: &Settings) -> Stores {
    Stores::new(directory).with_aws(AwsAccess {
        s3: settings.s3.clone(),
        dynamodb: settings.dynamodb.clone(),
        variables: AwsVariables::from_environment(),
    })
}

/// The threads that a process of ours has.
///
/// # Errors
/// [`ErrorKind::Internal`] where the system gives none.
pub fn runtime() -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .map_err(|cause| Error::new(ErrorKind::Internal, "no runtime").with_cause(cause))
}

/// Reads the configuration; the defaults where there is none. A store that it is in is reached as the
/// environment alone says.
///
/// # Errors
/// [`ErrorKind::Configuration`], with its place and the line.
pub async fn settings(origin: Origin, directory: &Path) -> Result<Settings> {
    match origin {
        Origin::Nowhere => Ok(Settings::default()),
        Origin::Text(text) => {
            Settings::parse(&text).map_err(|error| error.with_object(TEXT_VARIABLE))
        }
        Origin::Address(address) if address.contains("://") => {
            let stores = stores(directory.to_owned(), &Settings::default());
            let read = async { Settings::parse(&read_text(&stores, &address).await?) };
            read.await.map_err(|error| error.with_object(address))
        }
        Origin::Address(path) => Settings::read(Path::new(&path)),
    }
}

async fn read_text(stores: &Stores, address: &str) -> Result<String> {
    let location = stores.resolve(address)?;
    let unreadable = || {
        Error::new(ErrorKind::Configuration, "the configuration cannot be read")
            .with_advice("check the address, and that this identity may read it (s3:GetObject)")
    };
    let failed =
        |cause| misdirected(address, &cause).unwrap_or_else(|| unreadable().with_cause(cause));
    let found = location.store.get(&location.path).await.map_err(failed)?;
    if found.meta.size > CONFIGURATION_BYTES_MAX {
        return Err(Error::new(ErrorKind::Configuration, "it is too large for a configuration"));
    }
    let bytes = found.bytes().await.map_err(failed)?;
    String::from_utf8(bytes.into()).map_err(|cause| unreadable().with_cause(cause))
}
