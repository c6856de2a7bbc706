//! DynamoDB's requests through the object stores' HTTP, and which of them may be made again.

use std::error::Error as StdError;

use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_sdk_dynamodb::config::interceptors::InterceptorContext;
use aws_sdk_dynamodb::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_dynamodb::config::{HttpClient, RuntimeComponents};
use aws_sdk_dynamodb::error::{BoxError, ConnectorError, SdkError};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use object_store::ClientOptions;
use object_store::client::{
    self as network, HttpConnector as _, HttpError, HttpErrorKind, HttpResponseBody,
    ReqwestConnector,
};

use crate::error::{Error, ErrorKind, Result, cause_in};
use crate::store::s3;

/// The largest answer: the service ends a page at one megabyte.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// The header that names the call, after the service's name and a dot.
const CALL_HEADER: &str = "x-amz-target";
/// The calls that change nothing.
const READS: [&str; 4] = ["BatchGetItem", "DescribeTable", "GetItem", "Query"];

/// What carries requests, each of which may take `request_seconds_max` with its answer.
///
/// # Errors
/// [`ErrorKind::Configuration`] where there can be no such client.
pub(super) fn connect(request_seconds_max: u64, allow_http: bool) -> Result<Network> {
    let options = s3::client_limits(request_seconds_max)
        .into_iter()
        .fold(ClientOptions::new(), |options, (key, value)| options.with_config(key, value))
        .with_allow_http(allow_http);
    let client = ReqwestConnector {}.connect(&options).map_err(|cause| {
        Error::new(ErrorKind::Configuration, "there is no HTTP client").with_cause(cause)
    })?;
    Ok(Network(client))
}

/// The object stores' HTTP, as DynamoDB's client wants it.
#[derive(Debug, Clone)]
pub(super) struct Network(pub(super) network::HttpClient);

impl HttpClient for Network {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Network {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let call =
                request.headers().get(CALL_HEADER).and_then(|target| target.rsplit('.').next());
            let is_read = call.is_some_and(|call| READS.contains(&call));
            let mut answer = exchange(&client, request).await.map_err(|error| {
                match error.downcast_ref().map(HttpError::kind) {
                    Some(HttpErrorKind::Timeout) if is_read => ConnectorError::timeout(error),
                    Some(kind) if is_read || never_sent(kind) => ConnectorError::io(error),
                    // Of another kind, so that it is not repeated.
                    _ => ConnectorError::other(error, None),
                }
            })?;
            if !is_read && !answer.status().is_client_error() {
                answer.add_extension(Unrepeatable);
            }
            Ok(answer)
        })
    }
}

/// Sends a request and takes the whole of the answer.
async fn exchange(
    client: &network::HttpClient,
    request: HttpRequest,
) -> Result<HttpResponse, BoxError> {
    let request = request.try_into_http1x()?.map(|body| {
        // Only streams have no bytes, and no call of DynamoDB's has one.
        Bytes::copy_from_slice(body.bytes().unwrap_or_default()).into()
    });
    let (parts, body) = client.execute(request).await?.into_parts();
    let mut whole = BytesMut::new();
    let mut pieces = body.bytes_stream();
    while let Some(piece) = pieces.try_next().await? {
        if whole.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(format!("an answer of more than {ANSWER_BYTES_MAX} bytes").into());
        }
        whole.extend_from_slice(&piece);
    }
    let nothing = HttpResponseBody::from(Bytes::new());
    let answer = network::HttpResponse::from_parts(parts, nothing).map(|_| whole.freeze().into());
    Ok(answer.try_into()?)
}

/// Whether the request never left us.
fn never_sent(kind: HttpErrorKind) -> bool {
    matches!(kind, HttpErrorKind::Connect)
}

/// What marks the answer to a write that might have happened.
#[derive(Debug, Clone, Copy)]
struct Unrepeatable;

/// Of what the client would repeat, takes out the writes that might have happened: a second attempt
/// would meet the first's item, and say that somebody else was there.
#[derive(Debug)]
pub(super) struct RepeatWhatIsSafe;

impl ClassifyRetry for RepeatWhatIsSafe {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context.response().and_then(|answer| answer.extension::<Unrepeatable>()) {
            Some(Unrepeatable) => RetryAction::RetryForbidden,
            None => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "Repeat What Is Safe"
    }
}

/// Whether what failed with `error` may have happened all the same. A refusal did not; a time-out, a
/// cut connection, and a failure within the service may have.
pub fn might_have_happened<E>(error: &SdkError<E>) -> bool
where
    E: StdError + 'static,
{
    match error {
        SdkError::ConstructionFailure(_) => false,
        SdkError::DispatchFailure(_) => {
            // Without credentials, nothing is sent.
            let has_no_credentials = cause_in::<object_store::Error>(error).is_some();
            let kind = cause_in(error).map(HttpError::kind);
            !has_no_credentials && !kind.is_some_and(never_sent)
        }
        SdkError::ServiceError(failure) => !failure.raw().status().is_client_error(),
        SdkError::ResponseError(failure) => !failure.raw().status().is_client_error(),
        _ => true,
    }
}
