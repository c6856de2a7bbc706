//! The kernel, and where its calls run: every one of them blocks.

use std::num::NonZero;
use std::sync::Arc;

use delta_kernel::Engine;
use delta_kernel_default_engine::DefaultEngineBuilder;
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use object_store::memory::InMemory;

/// Commit files that the kernel reads ahead, and rows per batch of them: its defaults would hold
/// a thousand files at once.
const LOG_FILES_IN_FLIGHT_MAX: usize = 8;
const LOG_BATCH_ROWS: usize = 1_000;

/// The Delta library as one table uses it.
#[derive(Clone)]
pub struct Kernel {
    /// Reads the table's storage.
    pub engine: Arc<dyn Engine>,
    /// An engine over no storage: what is composed on it touches nothing.
    pub nowhere: Arc<dyn Engine>,
    /// Runs the calls.
    pub calls: Arc<dyn BlockingCalls>,
}

/// Where calls run that block.
pub trait BlockingCalls: Send + Sync {
    /// Runs `call` to its end; what it panics with is lost.
    fn run(&self, call: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;
}

impl Kernel {
    /// The kernel over `store`, its calls on threads of the multi-threaded runtime that this is
    /// called in.
    pub(super) fn on_threads(store: &Arc<dyn ObjectStore>) -> Self {
        let executor = TokioMultiThreadExecutor::new(tokio::runtime::Handle::current());
        let executor = Arc::new(executor);
        let nowhere = DefaultEngineBuilder::new(Arc::new(InMemory::new()))
            .with_task_executor(Arc::clone(&executor));
        let mut engine = DefaultEngineBuilder::new(Arc::clone(store)).with_task_executor(executor);
        if let Some(files) = NonZero::new(LOG_FILES_IN_FLIGHT_MAX) {
            engine = engine.with_buffer_size(files);
        }
        if let Some(rows) = NonZero::new(LOG_BATCH_ROWS) {
            engine = engine.with_batch_size(rows);
        }
        Self {
            engine: Arc::new(engine.build()),
            nowhere: Arc::new(nowhere.build()),
            calls: Arc::new(OnThreads),
        }
    }
}

struct OnThreads;

impl BlockingCalls for OnThreads {
    fn run(&self, call: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        Box::pin(async {
            // A panic drops what the call would have answered through.
            let _ = tokio::task::spawn_blocking(call).await;
        })
    }
}
