//! `lakefeed-lambda`, the function on AWS Lambda: set up once, then one answer for each event, and no
//! logic of its own.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lakefeed::clock::TimeBox;
use lakefeed::config::{self, FunctionIdentity, Settings, log_filter};
use lakefeed::delivery::{self, Delivery};
use lakefeed::environment::{self, Environment};
use lakefeed::error::{Error, ErrorKind, Result};
use lakefeed::event::{self, Answer, PartialBatchResponse, Request};
use lakefeed::metrics;
use lakefeed::receipt::{Observer, Receipt, Status};
use lambda_runtime::{Context, Diagnostic, LambdaEvent, Runtime, service_fn};
use lambda_runtime_api_client::{PooledClient, body::Body, build_request};
use serde::Serialize;
use serde_json::Value;
use tracing::Instrument;

/// What is kept of an invocation's time for the answer. What the last commit needs is kept by the
/// pipeline itself.
const ANSWERING_TIME: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let outcome = environment::runtime().and_then(|runtime| runtime.block_on(run()));
    outcome.map_or_else(
        |error| {
            // Where nobody listens, the exit code has to do.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

async fn run() -> Result<()> {
    let identity = FunctionIdentity::from_environment()?;
    let function = match Function::set_up(&identity).await {
        Ok(function) => function,
        Err(error) => {
            report_failed_start(&error).await;
            return Err(error);
        }
    };
    let handle = |event| function.handle(event);
    Runtime::new(service_fn(handle)).run().await.map_err(|cause| {
        Error::new(ErrorKind::Internal, "the function's runtime failed").with_cause(cause)
    })
}

/// What lasts from the first event of a process to its last.
struct Function {
    settings: Settings,
    /// Without a time box, which each invocation has for itself.
    environment: Environment,
    is_warm: AtomicBool,
}

impl Function {
    #[allow(clippy::disallowed_methods)]
    async fn set_up(identity: &FunctionIdentity) -> Result<Self> {
        log_as_json()?;
        let directory = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let settings = environment::settings(config::origin(None)?, &directory).await?;
        let process = process_name(identity);
        let environment = Environment::of_process(process, &settings, directory, None)?;
        delivery::check(&environment, &settings)?;
        Ok(Self { settings, environment, is_warm: AtomicBool::new(false) })
    }

    async fn handle(
        &self,
        event: LambdaEvent<Value>,
    ) -> Result<Option<PartialBatchResponse>, Diagnostic> {
        let (event, context) = event.into_parts();
        // As an error's, so that every line names its invocation, whatever is logged.
        let span = tracing::error_span!("invocation", request_id = context.request_id);
        // In a box: a future of many layers is more than the compiler lays out at once.
        let delivery = Box::pin(self.take(event, &context)).instrument(span).await;
        answer(delivery.map_err(|error| diagnostic(&error))?.answer)
    }

    async fn take(&self, event: Value, context: &Context) -> Result<Delivery> {
        let is_cold_start = !self.is_warm.swap(true, Ordering::Relaxed);
        let environment =
            Environment { time_box: self.time_box(context), ..self.environment.clone() };
        let request = event::understand(&event)?;
        drop(event);
        let is_sweep = matches!(request, Request::Sweep(_) | Request::SweepAll);
        let log = ReceiptLog { request_id: &context.request_id, is_sweep };
        let delivery = delivery::handle(&environment, &self.settings, &request, &log).await?;
        let invocation = metrics::Invocation {
            request_id: &context.request_id,
            at: environment.clock.now(),
            is_cold_start,
            peak_rss_bytes: environment.clock.usage().peak_rss_bytes,
        };
        for taken in &delivery.feeds {
            say(&metrics::line(&invocation, taken));
        }
        Ok(delivery)
    }

    /// The time of an invocation; without end, where its deadline is nonsense (emulators have sent
    /// how long it lasts, and not when it ends).
    fn time_box(&self, context: &Context) -> Option<TimeBox> {
        let clock = self.environment.clock.as_ref();
        let time_box = TimeBox::until(clock, context.deadline, ANSWERING_TIME);
        if time_box.is_none() {
            let deadline_ms = context.deadline;
            tracing::warn!(deadline_ms, "this is no deadline; nothing is handed back in time");
        }
        time_box
    }
}

/// Who we are to the people who read a lease.
fn process_name(FunctionIdentity { name, log_stream }: &FunctionIdentity) -> String {
    match log_stream {
        Some(log_stream) => format!("{name}:{log_stream}"),
        None => format!("{name}:{}", std::process::id()),
    }
}

fn log_as_json() -> Result<()> {
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(log_filter(0)?)
        .with_writer(io::stderr)
        .log_internal_errors(false)
        .init();
    Ok(())
}

/// What Lambda is told: what a queue is to deliver again, or that the whole event is to come again.
fn answer(answer: Answer) -> Result<Option<PartialBatchResponse>, Diagnostic> {
    match answer {
        Answer::Partial(response) => Ok(Some(response)),
        Answer::Done => Ok(None),
        Answer::Failed(count) => Err(Diagnostic {
            error_type: "Lakefeed.NotDone".to_owned(),
            error_message: format!(
                "{count} not done: the receipts in the log say which objects, and why"
            ),
        }),
    }
}

fn diagnostic(error: &Error) -> Diagnostic {
    Diagnostic {
        error_type: format!("Lakefeed.{:?}", error.kind()),
        error_message: error.to_string(),
    }
}

/// Tells Lambda why the function cannot start. Where even that fails, the exit code and the log have
/// to do.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-initerror>
async fn report_failed_start(error: &Error) {
    let Diagnostic { error_type, error_message } = diagnostic(error);
    let body = serde_json::json!({"errorType": error_type, "errorMessage": error_message});
    let request = build_request()
        .method("POST")
        .uri("/2018-06-01/runtime/init/error")
        .header("lambda-runtime-function-error-type", "Runtime.InitError")
        .body(Body::from(body.to_string()));
    let told = async { PooledClient::builder().build().call(request?).await };
    if let Err(cause) = told.await {
        let _ = writeln!(io::stderr(), "error: Lambda was not told: {cause}");
    }
}

/// Writes each receipt as soon as it is known, with its invocation.
struct ReceiptLog<'a> {
    request_id: &'a str,
    is_sweep: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    request_id: &'a str,
    #[serde(flatten)]
    receipt: &'a Receipt,
}

impl Observer for ReceiptLog<'_> {
    fn started(&self, _: usize, _: u64) {}

    fn progressed(&self, _: u64) {}

    fn finished(&self, receipt: &Receipt) {
        // Each sweep finds everything that was ever taken: that is counted, and no news.
        if self.is_sweep && receipt.status == Status::Duplicate {
            return;
        }
        match serde_json::to_string(&Line { request_id: self.request_id, receipt }) {
            Ok(line) => say(&line),
            Err(cause) => tracing::error!(source = receipt.source, "no JSON of this: {cause}"),
        }
    }
}

/// One line to standard output, which becomes one entry of the log.
fn say(line: &str) {
    // A log that nobody takes stops no rows.
    let _ = writeln!(io::stdout().lock(), "{line}");
}
