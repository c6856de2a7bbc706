//! Object stores, as `lakefeed::store` opens them.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures::TryStreamExt;
use lakefeed::clock::SystemClock;
use lakefeed::fault::{FaultRates, FaultyStore, SeededFaults};
use lakefeed::store::Stores;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tempfile::TempDir;

use super::Opened;

/// A folder of a store, empty, that nobody else uses.
pub struct Store {
    pub store: Arc<dyn ObjectStore>,
    /// The same storage, for filling it quickly: it need not survive a power cut.
    pub quick: Arc<dyn ObjectStore>,
    /// The folder, as an address that Lakefeed takes.
    pub address: String,
    /// The folder, as a key.
    pub folder: Path,
    pub can: Capabilities,
    /// Deleted at the end.
    pub _scratch: Option<TempDir>,
}

/// Where stores differ, and Lakefeed does not mind. The rest is promised by each.
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    /// `PutMode::Update`: without it, a store refuses as not implemented.
    pub update: bool,
    /// An old version can be read by its id: without it, objects have no version ids.
    pub versions: bool,
    /// `GetRange::Suffix`: without it, a store refuses as not supported.
    pub suffix_ranges: bool,
    /// Deleting what is not there is told as not found; without it, nothing is said.
    pub deletion_tells_of_absence: bool,
    /// Listings are in the order of keys. The Delta kernel relies on that, except for `file:`
    /// addresses.
    pub ordered_listings: bool,
    /// Names that end in `#` and a number are keys as any other; without it, they are refused.
    pub staging_names: bool,
    /// Below an object's name there can be others; without it, they are refused.
    pub nested_names: bool,
}

const MEMORY: Capabilities = Capabilities {
    update: true,
    versions: false,
    suffix_ranges: true,
    deletion_tells_of_absence: false,
    ordered_listings: true,
    staging_names: true,
    nested_names: true,
};

impl Store {
    /// The key of `name` in the folder.
    pub fn key(&self, name: &str) -> Path {
        Path::parse(format!("{}/{name}", self.folder)).unwrap()
    }

    /// What is under `name`.
    pub async fn read(&self, name: &str) -> Vec<u8> {
        let found = self.store.get(&self.key(name)).await;
        let found = found.unwrap_or_else(|error| panic!("{name:?} cannot be read: {error}"));
        found.bytes().await.unwrap().to_vec()
    }

    /// Puts `body` under `name`, whatever is there.
    pub async fn write(&self, name: &str, body: impl Into<object_store::PutPayload>) {
        self.store.put(&self.key(name), body.into()).await.unwrap();
    }

    /// Whether there is nothing under `name`.
    pub async fn is_absent(&self, name: &str) -> bool {
        match self.store.head(&self.key(name)).await {
            Ok(_) => false,
            Err(object_store::Error::NotFound { .. }) => true,
            Err(error) => panic!("{name:?} is neither there nor not: {error}"),
        }
    }

    /// The names in the folder, below `prefix`, as they are listed.
    pub async fn names(&self, prefix: Option<&str>) -> Vec<String> {
        let prefix = prefix.map_or(self.folder.clone(), |prefix| self.key(prefix));
        let listed: Vec<_> = self.store.list(Some(&prefix)).try_collect().await.unwrap();
        listed.iter().map(|object| self.name(&object.location)).collect()
    }

    /// The name in the folder whose key is `key`.
    pub fn name(&self, key: &Path) -> String {
        let name = key.as_ref().strip_prefix(self.folder.as_ref()).unwrap();
        name.trim_start_matches('/').to_owned()
    }

    /// The same folder through a wrapper.
    pub fn through<W: ObjectStore>(self, wrap: impl FnOnce(Arc<dyn ObjectStore>) -> W) -> Self {
        Self { store: Arc::new(wrap(Arc::clone(&self.store))), ..self }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {:?}", self.folder, self.store)
    }
}

/// In memory.
pub fn memory() -> Opened<Store> {
    Ok(at("memory:///some folder", None, MEMORY))
}

/// On a local disk.
pub fn local() -> Opened<Store> {
    let scratch = tempfile::tempdir().unwrap();
    let capabilities = Capabilities {
        update: false,
        deletion_tells_of_absence: true,
        ordered_listings: false,
        staging_names: false,
        nested_names: false,
        ..MEMORY
    };
    let address = format!("{}/some folder", scratch.path().display());
    let store = at(&address, Some(scratch), capabilities);
    Ok(Store { quick: Arc::new(LocalFileSystem::new()), ..store })
}

/// In memory, behind the decorator that the simulation injects its faults with, when it injects
/// none.
pub fn faultless() -> Opened<Store> {
    let faults = Arc::new(SeededFaults::new(1, FaultRates::NONE));
    let clock = Arc::new(SystemClock::default());
    Ok(memory()?.through(|inner| FaultyStore::new(inner, faults, clock, Arc::default())))
}

/// On S3.
#[cfg(feature = "aws")]
pub fn s3() -> Opened<Store> {
    let stores = Stores::new(PathBuf::from("/")).with_aws(super::s3::access()?);
    let address =
        format!("s3://conformance/{}/some folder", lakefeed::clock::Entropy::from_system().uuid());
    Ok(of(&stores, &address, None, MEMORY))
}

/// On S3.
#[cfg(not(feature = "aws"))]
pub fn s3() -> Opened<Store> {
    Err(super::Missing { backend: "S3", remedy: "build with the feature aws" })
}

fn at(address: &str, scratch: Option<TempDir>, can: Capabilities) -> Store {
    of(&Stores::new(PathBuf::from("/")), address, scratch, can)
}

fn of(stores: &Stores, address: &str, scratch: Option<TempDir>, can: Capabilities) -> Store {
    let location = stores.resolve(address).unwrap();
    Store {
        quick: Arc::clone(&location.store),
        store: location.store,
        address: location.uri,
        folder: location.path,
        can,
        _scratch: scratch,
    }
}
