//! What every suite needs: promises run on backends, and backends that are missing are told of.

use std::env;
use std::future::Future;
use std::io::{self, Write};
use std::time::Duration;

#[cfg(feature = "delta")]
pub mod delta;
#[cfg(feature = "aws")]
pub mod dynamodb;
#[cfg(feature = "iceberg")]
pub mod iceberg;
pub mod leases;
pub mod liar;
#[cfg(feature = "delta")]
pub mod log_entries;
#[cfg(feature = "aws")]
pub mod s3;
pub mod stores;
pub mod tables;

/// Threads of the runtime that a promise is run on: races are between real threads.
const THREADS: usize = 4;
/// A promise that takes longer hangs.
const PROMISE_SECONDS_MAX: u64 = 300;

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

/// One `#[test]` for each promise on each backend. Backends are functions in a module of `support`
/// that return [`Opened`], promises are functions of this module that take what they opened.
///
/// ```text
/// conformance!(stores: memory, local => [a_second_create_is_refused, ranges_are_exact]);
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

/// Holds every store to the promises: here is where one is added.
macro_rules! on_every_store {
    ($promises:tt) => {
        conformance!(stores: memory, local, faultless, s3 => $promises);
    };
}

/// Holds every table to the promises: here is where one is added.
macro_rules! on_every_table {
    ($promises:tt) => {
        on_every_delta_table!($promises);
        #[cfg(feature = "iceberg")]
        conformance!(tables: iceberg_on_memory, iceberg_on_local, iceberg_on_s3 => $promises);
    };
}

/// Holds those tables to the promises whose rows can be taken away, and whose columns can change.
macro_rules! on_every_delta_table {
    ($promises:tt) => {
        #[cfg(feature = "delta")]
        conformance!(
            tables: delta_on_memory, delta_on_local, delta_on_s3, delta_through_dynamodb => $promises
        );
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
        #[allow(clippy::disallowed_methods)] // The one thing that the environment decides.
        let ci = env::var("CI").ok();
        // Past the test runner, which shows to nobody what a passing test prints.
        if let Some(backend) = required(open(), ci.as_deref(), &mut io::stderr()) {
            let kept =
                tokio::time::timeout(Duration::from_secs(PROMISE_SECONDS_MAX), promise(backend));
            assert!(kept.await.is_ok(), "it hangs");
        }
    });
}

/// The backend; or nothing, said loudly, where it is missing and may be.
///
/// # Panics
/// Where it is missing and `ci`, the variable `CI`, is set: there, every backend is required.
fn required<B>(opened: Opened<B>, ci: Option<&str>, listener: &mut impl Write) -> Option<B> {
    let Missing { backend, remedy } = match opened {
        Ok(backend) => return Some(backend),
        Err(missing) => missing,
    };
    let told = format!("NOT TESTED: {backend} is missing; {remedy}");
    assert!(ci.is_none_or(str::is_empty), "{told}");
    writeln!(listener, "{told}").unwrap();
    None
}

const NOWHERE: Opened<()> = Err(Missing { backend: "Nowhere", remedy: "wait for it" });

#[test]
fn a_missing_backend_is_told_of() {
    let mut heard = Vec::new();
    assert_eq!(required(NOWHERE, None, &mut heard), None);
    assert_eq!(heard, b"NOT TESTED: Nowhere is missing; wait for it\n");
    assert_eq!(required(NOWHERE, Some(""), &mut heard), None);
    assert_eq!(required(Ok(7), Some("true"), &mut heard), Some(7));
}

#[test]
#[should_panic(expected = "NOT TESTED: Nowhere is missing")]
fn a_missing_backend_fails_where_each_is_required() {
    required(NOWHERE, Some("true"), &mut io::sink());
}
