//! What every suite needs: promises run on backends, and backends that are missing are told of.

use std::env;
use std::future::Future;
use std::io::{self, Write};
use std::time::Duration;

pub mod delta;
pub mod stores;
pub mod tables;

/// Threads of the runtime that a promise is run on: races are between real threads.
const THREADS: usize = 4;
/// A promise that takes longer hangs.
const PROMISE_SECONDS_MAX: u64 = 120;

/// A backend that a test asked for and that is not there.
#[derive(Debug)]
pub struct Missing {
    /// What is missing.
    pub backend: &'static str,
    /// What to do to have it.
    pub remedy: &'static str,
}

/// A backend, fresh and empty, if it is there.
pub type Opened<B> = Result<B, Missing>;

/// One `#[test]` for each promise on each backend. Backends are functions in a module of `support` that return
/// [`Opened`], promises are functions of this module that take what they opened.
///
/// ```text
/// conformance!(stores: memory, local => [a_second_create_is_refused, a_list_is_by_segment]);
/// ```
macro_rules! conformance {
    ($family:ident: $($backend:ident),+ => $promises:tt) => {
        $(
            mod $backend {
                conformance!(@tests $family $backend $promises);
            }
        )+
    };
    (@tests $family:ident $backend:ident [$($promise:ident),+ $(,)?]) => {
        $(
            #[test]
            fn $promise() {
                $crate::support::hold($crate::support::$family::$backend, super::$promise);
            }
        )+
    };
}

/// Holds a backend to a promise. `open` runs within the runtime that the promise runs on.
pub fn hold<B, F>(open: impl FnOnce() -> Opened<B>, promise: impl FnOnce(B) -> F)
where
    F: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        if let Some(backend) = required(open()) {
            let kept =
                tokio::time::timeout(Duration::from_secs(PROMISE_SECONDS_MAX), promise(backend));
            assert!(kept.await.is_ok(), "it hangs");
        }
    });
}

/// The backend; or nothing, said loudly, where it is missing and may be.
///
/// # Panics
/// Where it is missing and the variable `CI` is set: there, every backend is required.
fn required<B>(opened: Opened<B>) -> Option<B> {
    #[allow(clippy::disallowed_methods)] // The one thing that the environment decides.
    let ci = env::var("CI").ok();
    let missing = match opened {
        Ok(backend) => return Some(backend),
        Err(missing) => missing,
    };
    let Missing { backend, remedy } = missing;
    let told = format!("NOT TESTED: {backend} is missing; {remedy}");
    match on_missing(ci.as_deref()) {
        OnMissing::Fail => panic!("{told}"),
        OnMissing::Tell => {
            // Past the test runner, which shows what a passing test prints to nobody.
            writeln!(io::stderr(), "{told}").unwrap();
            None
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum OnMissing {
    Fail,
    Tell,
}

/// What to do about a missing backend, by the value of the variable `CI`.
fn on_missing(ci: Option<&str>) -> OnMissing {
    match ci {
        None | Some("") => OnMissing::Tell,
        Some(_) => OnMissing::Fail,
    }
}

#[test]
fn a_missing_backend_fails_where_everything_is_required() {
    assert_eq!(on_missing(Some("true")), OnMissing::Fail);
    assert_eq!(on_missing(Some("1")), OnMissing::Fail);
    assert_eq!(on_missing(Some("")), OnMissing::Tell);
    assert_eq!(on_missing(None), OnMissing::Tell);
}

#[test]
fn only_what_is_missing_is_missed() {
    assert_eq!(required(Ok(7)), Some(7));
    let missing =
        Missing { backend: "this test's backend", remedy: "it is never there: all is well" };
    let asked = std::panic::catch_unwind(|| required::<()>(Err(missing)));
    #[allow(clippy::disallowed_methods)]
    let is_required = on_missing(env::var("CI").ok().as_deref()) == OnMissing::Fail;
    assert_eq!(asked.is_err(), is_required);
}
