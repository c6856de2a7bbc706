//! S3 and DynamoDB, as moto has them: one server for this program, which takes one request at a time,
//! because under threads its conditional writes have two winners.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use lakefeed::config::{AwsAccess, AwsVariables, DynamoDbOptions, S3Options};

use super::{Missing, Opened};

/// A server that ends with its standard input, which ends with this program.
struct Server {
    access: AwsAccess,
    _process: Child,
}

static SERVER: OnceLock<Option<Server>> = OnceLock::new();

/// How the server is reached. It has a bucket called `conformance`.
pub fn access() -> Opened<AwsAccess> {
    let server = SERVER.get_or_init(start);
    server.as_ref().map(|server| server.access.clone()).ok_or(Missing {
        backend: "S3 (moto)",
        remedy: "make the Python environment with tests/run, and name it in LAKEFEED_VENV",
    })
}

fn start() -> Option<Server> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    #[allow(clippy::disallowed_methods)] // Where the environment is, only the environment says.
    let environment =
        env::var_os("LAKEFEED_VENV").map_or_else(|| repository.join(".venv"), PathBuf::from);
    let mut process = Command::new(environment.join("bin/python"))
        .arg(repository.join("tests/e2e/s3.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut endpoint = String::new();
    BufReader::new(process.stdout.take()?).read_line(&mut endpoint).ok()?;
    let endpoint = Some(endpoint.trim().to_owned()).filter(|endpoint| !endpoint.is_empty());
    endpoint.as_ref()?;
    let region = Some("eu-central-1".to_owned());
    let s3 = S3Options {
        endpoint: endpoint.clone(),
        allow_http: Some(true),
        region: region.clone(),
        ..S3Options::default()
    };
    let dynamodb =
        DynamoDbOptions { endpoint, allow_http: Some(true), region, ..DynamoDbOptions::default() };
    let variables = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
    let access = AwsAccess { s3, dynamodb, variables: AwsVariables::from_iter(variables) };
    Some(Server { access, _process: process })
}
