//! `lakefeed`, the command line: words in, receipts out, and no logic of its own.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use lakefeed::config::log_filter;
use lakefeed::error::{ErrorKind, Result};

mod answers;
mod args;
mod chore;
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

fn log_to_stderr(verbose: u8) -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(log_filter(verbose)?)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .log_internal_errors(false)
        .init();
    Ok(())
}
