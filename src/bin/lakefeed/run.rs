//! From a command to the library and back.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;
use lakefeed::error::{Error, ErrorKind, Result};

use crate::args::{Arguments, Command};

/// Runs one command.
pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Completions { shell } => completions(shell),
        _ => Err(Error::new(
            ErrorKind::Configuration,
            "this command is not in this build",
        )),
    }
}

fn completions(shell: Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "lakefeed", &mut script);
    to_stdout(&script)
}

/// Writes to standard output; that nobody listens any more is not an error.
fn to_stdout(bytes: &[u8]) -> Result<ExitCode> {
    match io::stdout()
        .lock()
        .write_all(bytes)
        .and_then(|()| io::stdout().flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::new(
            ErrorKind::StorageUnavailable,
            "cannot write to standard output",
        )
        .with_cause(error)),
        _ => Ok(ExitCode::SUCCESS),
    }
}
