//! An object store that fails as real ones do.
//!
//! Whatever a request comes to, the one who asked learns one of four things: it was done; it was
//! done and the answer was lost; it was not done and the answer was lost; it was refused. Beside
//! these there are the delays: a request that lands long after its sender gave it up, a conflict
//! that nobody won, an answer that takes its time, a listing that lags behind.
//!
//! [`FaultyStore`] does to each request what a [`Faults`] decides; [`SeededFaults`] decides by rates
//! and a seed.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result, UploadPart,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::clock::Clock;

const NAME: &str = "faulty";

/// What is asked of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A PUT that only creates.
    Create,
    /// Any other PUT.
    Put,
    /// A GET or a HEAD.
    Get,
    /// A DELETE.
    Delete,
    /// A listing.
    List,
    /// A copy or a move.
    Copy,
    /// The beginning of a multipart upload.
    Begin,
    /// One part of it.
    Part,
    /// Its end.
    Complete,
    /// Its abandonment.
    Abort,
}

impl Operation {
    fn reads(self) -> bool {
        matches!(self, Self::Get | Self::List)
    }
}

/// One request.
#[derive(Debug)]
pub struct Call<'a> {
    /// What is asked.
    pub operation: Operation,
    /// Of which object, or below which folder.
    pub path: &'a Path,
    /// What is to be written, where it is one object as a whole.
    pub payload: Option<&'a PutPayload>,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is done and answered.
    None,
    /// It is done, and the answer is lost.
    LoseAnswer,
    /// It is not done, and that is not answered either.
    LoseRequest,
    /// It is given up, and done so much later.
    DeliverLate(Duration),
    /// It is not done, and the answer says so.
    Refuse,
    /// It is not done, and the answer blames another writer, who was not there.
    Conflict,
    /// It is done, and the answer blames another writer, as a client says that repeats its requests.
    DoneThenConflict,
    /// It is done, and the answer refuses it, as a disk does that is full once the file is there.
    DoneThenRefuse,
    /// A listing shows nothing that was written within this while.
    Lag(Duration),
}

/// What is done to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Treatment {
    /// How long it travels.
    pub before: Duration,
    /// What becomes of it.
    pub fault: Fault,
    /// How long the answer travels.
    pub after: Duration,
}

impl From<Fault> for Treatment {
    fn from(fault: Fault) -> Self {
        Self { before: Duration::ZERO, fault, after: Duration::ZERO }
    }
}

/// Decides what becomes of requests.
pub trait Faults: Send + Sync + 'static {
    /// What is to be done to `call`.
    fn treat(&self, call: &Call<'_>) -> Treatment;
}

/// How often requests fail, each as a share of one; and how long they take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaultRates {
    /// Of [`Fault::LoseAnswer`].
    pub lose_answer: f64,
    /// Of [`Fault::LoseRequest`]: time-outs, 429 and 503, whose answers a client repeats away.
    pub lose_request: f64,
    /// Of [`Fault::DeliverLate`].
    pub deliver_late: f64,
    /// Of [`Fault::Refuse`].
    pub refuse: f64,
    /// Of [`Fault::Conflict`].
    pub conflict: f64,
    /// Of [`Fault::DoneThenConflict`].
    pub done_then_conflict: f64,
    /// Of [`Fault::DoneThenRefuse`].
    pub done_then_refuse: f64,
    /// Of [`Fault::Lag`].
    pub lag: f64,
    /// Of requests that freeze on the way, there or back.
    pub freeze: f64,
    /// The longest way of a request and of an answer.
    pub way_max: Duration,
    /// The longest that anything is late, lags or freezes.
    pub late_max: Duration,
}

impl FaultRates {
    /// No faults, and no delays.
    pub const NONE: Self = Self {
        lose_answer: 0.0,
        lose_request: 0.0,
        deliver_late: 0.0,
        refuse: 0.0,
        conflict: 0.0,
        done_then_conflict: 0.0,
        done_then_refuse: 0.0,
        lag: 0.0,
        freeze: 0.0,
        way_max: Duration::ZERO,
        late_max: Duration::ZERO,
    };
}

/// Faults by rates and a seed: the same seed and the same requests, the same faults.
#[derive(Debug)]
pub struct SeededFaults {
    rates: FaultRates,
    rng: Mutex<StdRng>,
}

impl SeededFaults {
    /// Faults at these rates.
    pub fn new(seed: u64, rates: FaultRates) -> Self {
        Self { rates, rng: Mutex::new(StdRng::seed_from_u64(seed)) }
    }
}

impl Faults for SeededFaults {
    fn treat(&self, call: &Call<'_>) -> Treatment {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let rates = &self.rates;
        let mut upto = |max: Duration| max.mul_f64(rng.random::<f64>());
        let (mut before, mut after) = (upto(rates.way_max), upto(rates.way_max));
        let late = upto(rates.late_max);
        if rng.random::<f64>() < rates.freeze {
            *if rng.random() { &mut before } else { &mut after } += late;
        }
        let writes = !call.operation.reads();
        let creates = call.operation == Operation::Create;
        let faults = [
            (Fault::LoseAnswer, rates.lose_answer, true),
            (Fault::LoseRequest, rates.lose_request, true),
            (Fault::DeliverLate(late), rates.deliver_late, writes),
            (Fault::Refuse, rates.refuse, true),
            (Fault::Conflict, rates.conflict, call.operation != Operation::List),
            (Fault::DoneThenConflict, rates.done_then_conflict, creates),
            (Fault::DoneThenRefuse, rates.done_then_refuse, creates),
            (Fault::Lag(late), rates.lag, call.operation == Operation::List),
        ];
        let mut drawn = rng.random::<f64>();
        let chosen = faults.iter().find(|(_, rate, _)| {
            let chosen = drawn < *rate;
            drawn -= rate;
            chosen
        });
        let fault = match chosen {
            Some((fault, _, true)) => *fault,
            _ => Fault::None,
        };
        Treatment { before, fault, after }
    }
}

/// A store that does to each request what a [`Faults`] decides, and takes its time for it.
#[derive(Clone)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    faults: Arc<dyn Faults>,
    clock: Arc<dyn Clock>,
    /// When each object was written, by whoever shares this.
    written: Arc<Written>,
}

/// When objects were written. Shared among the stores of one world, so that each lags behind the
/// others' writes too.
#[derive(Debug, Default)]
pub struct Written(Mutex<HashMap<Path, Duration>>);

impl Written {
    fn note(&self, path: &Path, at: Duration) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(path.clone(), at);
    }

    /// When `path` was last written, on the clock of the stores; nothing if by none of them.
    pub fn at(&self, path: &Path) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied()
    }

    fn after(&self, path: &Path, moment: Duration) -> bool {
        self.at(path).is_some_and(|at| at > moment)
    }
}

impl FaultyStore {
    /// `inner`, whose requests `faults` decides about, on `clock`. Stores that share `written` lag
    /// behind each other.
    pub fn new(
        inner: Arc<dyn ObjectStore>,
        faults: Arc<dyn Faults>,
        clock: Arc<dyn Clock>,
        written: Arc<Written>,
    ) -> Self {
        Self { inner, faults, clock, written }
    }

    async fn wait(&self, duration: Duration) {
        if !duration.is_zero() {
            self.clock.sleep(duration).await;
        }
    }

    /// Sends one request, and does to it what was decided.
    async fn send<T: Send + 'static>(
        &self,
        call: Call<'_>,
        request: BoxFuture<'static, Result<T>>,
    ) -> Result<T> {
        let Treatment { before, fault, after } = self.faults.treat(&call);
        self.wait(before).await;
        let outcome = match fault {
            Fault::None | Fault::Lag(_) => request.await,
            Fault::LoseAnswer => {
                let _ = request.await;
                Err(lost())
            }
            Fault::LoseRequest => Err(lost()),
            Fault::DeliverLate(late) => {
                let clock = Arc::clone(&self.clock);
                tokio::spawn(async move {
                    clock.sleep(late).await;
                    let _ = request.await;
                });
                Err(lost())
            }
            Fault::Refuse => Err(refusal(call.path)),
            Fault::Conflict => Err(conflict(&call)),
            Fault::DoneThenConflict => request.await.and_then(|_| Err(conflict(&call))),
            Fault::DoneThenRefuse => request.await.and_then(|_| Err(refusal(call.path))),
        };
        self.wait(after).await;
        outcome
    }

    /// A request that writes `path`, which is noted when it is done.
    fn writing<T: Send + 'static>(
        &self,
        path: &Path,
        request: impl Future<Output = Result<T>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T>> {
        let (written, clock) = (Arc::clone(&self.written), Arc::clone(&self.clock));
        let path = path.clone();
        Box::pin(async move {
            let done = request.await?;
            written.note(&path, clock.monotonic());
            Ok(done)
        })
    }

    /// A listing: as of now, or as of a while ago.
    fn listing(
        &self,
        prefix: Option<&Path>,
        list: impl FnOnce(&dyn ObjectStore) -> BoxStream<'static, Result<ObjectMeta>> + Send + 'static,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        let prefix = prefix.cloned().unwrap_or_default();
        let listed = async move {
            let call = Call { operation: Operation::List, path: &prefix, payload: None };
            let Treatment { before, fault, after } = store.faults.treat(&call);
            store.wait(before).await;
            let all = list(store.inner.as_ref()).try_collect::<Vec<_>>().await;
            let seen = match fault {
                Fault::None => all,
                Fault::Lag(while_ago) => {
                    let moment = store.clock.monotonic().saturating_sub(while_ago);
                    let is_old = |meta: &ObjectMeta| !store.written.after(&meta.location, moment);
                    all.map(|metas| metas.into_iter().filter(is_old).collect())
                }
                Fault::Refuse => Err(refusal(&prefix)),
                _ => Err(lost()),
            };
            store.wait(after).await;
            seen.map(|metas| stream::iter(metas).map(Ok))
        };
        stream::once(listed).try_flatten().boxed()
    }
}

fn lost() -> Error {
    Error::Generic { store: NAME, source: "no answer came".into() }
}

fn refusal(path: &Path) -> Error {
    Error::PermissionDenied { path: path.to_string(), source: "it is refused".into() }
}

fn conflict(call: &Call<'_>) -> Error {
    let (path, source) = (call.path.to_string(), "somebody else was first".into());
    match call.operation {
        Operation::Create => Error::AlreadyExists { path, source },
        _ => Error::Precondition { path, source },
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({:?})", self.inner)
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({})", self.inner)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let creates = opts.mode == PutMode::Create;
        let operation = if creates { Operation::Create } else { Operation::Put };
        let (inner, path, body) = (Arc::clone(&self.inner), location.clone(), payload.clone());
        let request =
            self.writing(location, async move { inner.put_opts(&path, body, opts).await });
        self.send(Call { operation, path: location, payload: Some(&payload) }, request).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let (inner, path) = (Arc::clone(&self.inner), location.clone());
        let request = Box::pin(async move { inner.put_multipart_opts(&path, opts).await });
        let call = Call { operation: Operation::Begin, path: location, payload: None };
        let upload = self.send(call, request).await?;
        let upload = Arc::new(tokio::sync::Mutex::new(upload));
        Ok(Box::new(FaultyUpload {
            store: self.clone(),
            path: location.clone(),
            upload,
            progress: Arc::default(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (inner, path) = (Arc::clone(&self.inner), location.clone());
        let is_conditional = options.if_match.is_some();
        let request = Box::pin(async move { inner.get_opts(&path, options).await });
        let call = Call { operation: Operation::Get, path: location, payload: None };
        match self.send(call, request).await {
            // Only a condition can fail.
            Err(Error::Precondition { .. }) if !is_conditional => Err(lost()),
            outcome => outcome,
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let mut all = Vec::with_capacity(ranges.len());
        for range in ranges {
            all.push(self.get_range(location, range.clone()).await?);
        }
        Ok(all)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let path = location?;
                let (inner, deleted) = (Arc::clone(&store.inner), path.clone());
                let request = Box::pin(async move { inner.delete(&deleted).await });
                let call = Call { operation: Operation::Delete, path: &path, payload: None };
                store.send(call, request).await?;
                Ok(path)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let below = prefix.cloned();
        self.listing(prefix, move |inner| inner.list(below.as_ref()))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (below, offset) = (prefix.cloned(), offset.clone());
        self.listing(prefix, move |inner| inner.list_with_offset(below.as_ref(), &offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (inner, below) = (Arc::clone(&self.inner), prefix.cloned());
        let path = prefix.cloned().unwrap_or_default();
        let request = Box::pin(async move { inner.list_with_delimiter(below.as_ref()).await });
        self.send(Call { operation: Operation::List, path: &path, payload: None }, request).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (inner, from, target) = (Arc::clone(&self.inner), from.clone(), to.clone());
        let request =
            self.writing(to, async move { inner.copy_opts(&from, &target, options).await });
        self.send(Call { operation: Operation::Copy, path: to, payload: None }, request).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let (inner, from, target) = (Arc::clone(&self.inner), from.clone(), to.clone());
        let request =
            self.writing(to, async move { inner.rename_opts(&from, &target, options).await });
        self.send(Call { operation: Operation::Copy, path: to, payload: None }, request).await
    }
}

/// A multipart upload whose every step may fail. It is torn as a real one is: nothing comes of it
/// once it was abandoned, or while a part of it is missing, whatever the store itself would do.
#[derive(Debug)]
struct FaultyUpload {
    store: FaultyStore,
    path: Path,
    upload: Arc<tokio::sync::Mutex<Box<dyn MultipartUpload>>>,
    progress: Arc<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    parts_sent: AtomicUsize,
    parts_landed: AtomicUsize,
    is_abandoned: AtomicBool,
}

impl Progress {
    fn check(&self, path: &Path) -> Result<()> {
        if self.is_abandoned.load(Ordering::SeqCst) {
            let (path, source) = (path.to_string(), "the upload was abandoned".into());
            return Err(Error::NotFound { path, source });
        }
        let (sent, landed) = (&self.parts_sent, &self.parts_landed);
        if landed.load(Ordering::SeqCst) < sent.load(Ordering::SeqCst) {
            return Err(Error::Generic { store: NAME, source: "a part is missing".into() });
        }
        Ok(())
    }
}

impl FaultyUpload {
    fn call(&self, operation: Operation) -> Call<'_> {
        Call { operation, path: &self.path, payload: None }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (store, path) = (self.store.clone(), self.path.clone());
        let progress = Arc::clone(&self.progress);
        progress.parts_sent.fetch_add(1, Ordering::SeqCst);
        // The part's place is taken now, however late it is sent.
        let part = match self.upload.try_lock() {
            Ok(mut upload) => upload.put_part(data),
            Err(_) => Box::pin(async { Err(lost()) }),
        };
        let part = Box::pin(async move {
            part.await?;
            progress.parts_landed.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        Box::pin(async move {
            let call = Call { operation: Operation::Part, path: &path, payload: None };
            store.send(call, part).await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (upload, progress) = (Arc::clone(&self.upload), Arc::clone(&self.progress));
        let path = self.path.clone();
        let request = async move {
            progress.check(&path)?;
            upload.lock().await.complete().await
        };
        let request = self.store.writing(&self.path, request);
        self.store.send(self.call(Operation::Complete), request).await
    }

    async fn abort(&mut self) -> Result<()> {
        let (upload, progress) = (Arc::clone(&self.upload), Arc::clone(&self.progress));
        let request = Box::pin(async move {
            progress.is_abandoned.store(true, Ordering::SeqCst);
            upload.lock().await.abort().await
        });
        self.store.send(self.call(Operation::Abort), request).await
    }
}

#[cfg(test)]
mod tests;
