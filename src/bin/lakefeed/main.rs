//! `lakefeed`, the command line: words in, receipts out, and no logic of its own.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use lakefeed::error::{Error, ErrorKind, Result};
use tracing_subscriber::EnvFilter;

mod args;
mod report;
mod run;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    let outcome = log_to_stderr(arguments.verbose).and_then(|()| run::run(arguments.command));
    outcome.unwrap_or_else(|error| {
        // Where nobody listens, the exit code has to do.
        let _ = writeln!(io::stderr(), "error: {error}");
        match error.kind() {
            ErrorKind::Configuration | ErrorKind::OverBudget => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    })
}

/// Logs at the level of `-v`, else by the filter in `LAKEFEED_LOG`, else warnings.
#[allow(clippy::disallowed_methods)]
fn log_to_stderr(verbose: u8) -> Result<()> {
    let filter = match verbose {
        // The Delta library logs what it returns to us; we say it once, in our own words.
        0 => std::env::var("LAKEFEED_LOG")
            .unwrap_or_else(|_| "warn,delta_kernel=off,delta_kernel_default_engine=off".to_owned()),
        1 => "warn,lakefeed=info".to_owned(),
        _ => "info,lakefeed=debug".to_owned(),
    };
    let filter = EnvFilter::builder().parse(&filter).map_err(|cause| {
        Error::new(ErrorKind::Configuration, format!("{filter:?} is not a filter for logs"))
            .with_object("LAKEFEED_LOG")
            .with_cause(cause)
            .with_advice("say error, warn, info, debug or trace")
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .log_internal_errors(false)
        .init();
    Ok(())
}
