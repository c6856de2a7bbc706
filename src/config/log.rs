//! What is logged.

use tracing_subscriber::EnvFilter;

use super::{environment, wrong};
use crate::error::Result;

/// The Delta libraries log what they return to us; we say it once, in our own words.
const USUAL_FILTER: &str =
    "warn,delta_kernel=off,delta_kernel_default_engine=off,deltalake_core=off";

/// What is logged: as much as `verbose` says, else by the filter in `LAKEFEED_LOG`, else warnings.
///
/// # Errors
/// [`crate::error::ErrorKind::Configuration`] for a filter that is none.
pub fn log_filter(verbose: u8) -> Result<EnvFilter> {
    let filter = match verbose {
        0 => environment("LAKEFEED_LOG").unwrap_or_else(|| USUAL_FILTER.to_owned()),
        1 => "warn,lakefeed=info,deltalake_core=off".to_owned(),
        _ => "info,lakefeed=debug".to_owned(),
    };
    EnvFilter::builder().parse(&filter).map_err(|cause| {
        wrong(format!("{filter:?} is not a filter for logs"))
            .with_object("LAKEFEED_LOG")
            .with_cause(cause)
            .with_advice("say error, warn, info, debug or trace")
    })
}
