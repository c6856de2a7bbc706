//! The Delta kernel, in turns with the simulation.
//!
//! Every call of the kernel blocks, and waits for storage whose clock is simulated. So each call
//! is a coroutine: it runs on a thread of its own, strictly in turns with the simulation. When it
//! wants something of the store, it hands the request over and sleeps; the simulation answers on
//! its own clock and wakes it. No two threads ever run at once, so a seed replays exactly. A thread
//! whose call has ended takes the next one: making threads costs more than what they do here.

use std::cell::RefCell;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use delta_kernel::KernelResult;
use delta_kernel_default_engine::DefaultEngineBuilder;
use delta_kernel_default_engine::executor::TaskExecutor;
use futures::FutureExt;
use futures::future::BoxFuture;
use lakefeed::table::delta::{BlockingCalls, Kernel};
use object_store::ObjectStore;
use object_store::memory::InMemory;

/// Rows that the kernel makes room for in every batch: by default, many more than any log here has.
const LOG_BATCH_ROWS: NonZero<usize> = NonZero::new(32).unwrap();

/// The kernel over `store`.
pub fn in_turns(store: Arc<dyn ObjectStore>) -> Kernel {
    Kernel {
        engine: Arc::new(engine(store)),
        nowhere: Arc::new(engine(Arc::new(InMemory::new()))),
        calls: Arc::new(Coroutines),
    }
}

/// An engine that spawns nothing. Outside a coroutine it is for stores that never wait.
pub fn engine(store: Arc<dyn ObjectStore>) -> impl delta_kernel::Engine {
    DefaultEngineBuilder::new(store)
        .with_task_executor(Arc::new(InTurns))
        .with_batch_size(LOG_BATCH_ROWS)
        .build()
}

thread_local! {
    /// Whom this thread takes turns with.
    static SIMULATION: RefCell<Option<Arc<Baton>>> = const { RefCell::new(None) };
    /// Those that wait for another call of the simulation that this thread plays.
    static IDLE: RefCell<Vec<Coroutine>> = const { RefCell::new(Vec::new()) };
}

/// What the simulation hands to a coroutine.
enum Turn {
    Call(Box<dyn FnOnce() + Send>),
    /// What was asked for is done.
    Answer,
    /// Nobody waits for the call any more.
    Kill,
}

/// What a coroutine hands to the simulation.
enum Reply {
    Request(BoxFuture<'static, ()>),
    Done,
}

/// Goes to and fro between a simulation and a coroutine: whoever has handed it over sleeps.
#[derive(Default)]
struct Baton {
    state: Mutex<BatonState>,
    to_coroutine: Condvar,
    to_simulation: Condvar,
}

#[derive(Default)]
struct BatonState {
    turn: Option<Turn>,
    reply: Option<Reply>,
}

impl Baton {
    /// A coroutine without a call.
    fn new() -> Arc<Self> {
        let baton = Arc::new(Self::default());
        let of_coroutine = Arc::clone(&baton);
        std::thread::spawn(move || {
            SIMULATION.set(Some(Arc::clone(&of_coroutine)));
            while let Turn::Call(call) = of_coroutine.await_turn() {
                // A call that panics has answered nobody: that is its outcome.
                let ended = catch_unwind(AssertUnwindSafe(call));
                if ended.is_err_and(|cause| cause.is::<Killed>()) {
                    break;
                }
                of_coroutine.hand_back(Reply::Done);
            }
        });
        baton
    }

    fn state(&self) -> MutexGuard<'_, BatonState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn await_turn(&self) -> Turn {
        let mut state = self.state();
        loop {
            if let Some(turn) = state.turn.take() {
                return turn;
            }
            state = self.to_coroutine.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn hand_back(&self, reply: Reply) {
        self.state().reply = Some(reply);
        self.to_simulation.notify_one();
    }

    /// Lets the coroutine run until it wants something, or has come to its end.
    fn hand_over(&self, turn: Turn) -> Reply {
        self.state().turn = Some(turn);
        self.to_coroutine.notify_one();
        let mut state = self.state();
        loop {
            if let Some(reply) = state.reply.take() {
                return reply;
            }
            state = self.to_simulation.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A thread that takes calls. Dropped under a call, it kills it.
struct Coroutine(Arc<Baton>);

impl Coroutine {
    async fn run(&self, call: Box<dyn FnOnce() + Send>) {
        let mut reply = self.0.hand_over(Turn::Call(call));
        while let Reply::Request(request) = reply {
            request.await;
            reply = self.0.hand_over(Turn::Answer);
        }
    }
}

impl Drop for Coroutine {
    fn drop(&mut self) {
        self.0.state().turn = Some(Turn::Kill);
        self.0.to_coroutine.notify_one();
    }
}

struct Coroutines;

impl BlockingCalls for Coroutines {
    fn run(&self, call: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        Box::pin(async {
            let idle = IDLE.with_borrow_mut(Vec::pop);
            let coroutine = idle.unwrap_or_else(|| Coroutine(Baton::new()));
            coroutine.run(call).await;
            IDLE.with_borrow_mut(|idle| idle.push(coroutine));
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
            simulation.hand_back(Reply::Request(Box::pin(request)));
            if !matches!(simulation.await_turn(), Turn::Answer) {
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
