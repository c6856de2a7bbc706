//! The Delta kernel, in turns with the simulation.
//!
//! Every call of the kernel blocks, and waits for storage whose clock is simulated. So each call
//! is a coroutine: it runs on a thread of its own, strictly in turns with the simulation. When it
//! wants something of the store, it hands the request over and sleeps; the simulation answers on
//! its own clock and wakes it. No two threads ever run at once, so a seed replays exactly.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use delta_kernel::KernelResult;
use delta_kernel_default_engine::DefaultEngineBuilder;
use delta_kernel_default_engine::executor::TaskExecutor;
use futures::FutureExt;
use futures::future::BoxFuture;
use lakefeed::table::delta::{BlockingCalls, Kernel};
use object_store::ObjectStore;
use object_store::memory::InMemory;

/// The kernel over `store`.
pub fn in_turns(store: &Arc<dyn ObjectStore>) -> Kernel {
    Kernel {
        engine: Arc::new(engine(Arc::clone(store))),
        nowhere: Arc::new(engine(Arc::new(InMemory::new()))),
        calls: Arc::new(Coroutines),
    }
}

/// An engine that spawns nothing. Outside a coroutine it is for stores that never wait.
pub fn engine(store: Arc<dyn ObjectStore>) -> impl delta_kernel::Engine {
    DefaultEngineBuilder::new(store).with_task_executor(Arc::new(InTurns)).build()
}

thread_local! {
    /// Whom this thread takes turns with.
    static SIMULATION: RefCell<Option<Simulation>> = const { RefCell::new(None) };
}

struct Simulation {
    requests: mpsc::Sender<BoxFuture<'static, ()>>,
    answers: mpsc::Receiver<()>,
}

struct Coroutines;

impl BlockingCalls for Coroutines {
    fn run(&self, call: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let (requests, requested) = mpsc::channel();
            let (answer, answers) = mpsc::channel();
            std::thread::spawn(move || {
                SIMULATION.set(Some(Simulation { requests, answers }));
                call();
                // The simulation goes on when there is nobody left who could ask for anything.
                SIMULATION.set(None);
            });
            while let Ok(request) = requested.recv() {
                request.await;
                let _ = answer.send(());
            }
        })
    }
}

/// Unwinds a call whose ingester was killed.
struct Killed;

/// Has the simulation do what the kernel waits for.
struct InTurns;

impl TaskExecutor for InTurns {
    type Guard<'a> = ();

    fn block_on<T>(&self, task: T) -> T::Output
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        SIMULATION.with_borrow(|simulation| {
            let Some(simulation) = simulation else {
                return task.now_or_never().expect("memory never waits");
            };
            let output = Arc::new(Mutex::new(None));
            let slot = Arc::clone(&output);
            let request = task.map(move |done| {
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
            });
            let asked = simulation.requests.send(Box::pin(request)).is_ok();
            if !asked || simulation.answers.recv().is_err() {
                std::panic::resume_unwind(Box::new(Killed));
            }
            let done = output.lock().unwrap_or_else(PoisonError::into_inner).take();
            done.expect("the simulation answers only what it has done")
        })
    }

    fn spawn<F>(&self, _: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        unreachable!("the kernel's engine spawns nothing");
    }

    fn spawn_blocking<T, R>(&self, task: T) -> BoxFuture<'_, KernelResult<R>>
    where
        T: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        futures::future::ready(Ok(task())).boxed()
    }

    fn enter(&self) -> Self::Guard<'_> {}
}
