//! DynamoDB: one client for all that is kept there, made when it is first needed.
//!
//! It borrows what S3's client has: its credentials, from wherever S3 gets them, its limits, and its
//! HTTP, so that there is one TLS stack in the program.
//!
//! A conditional write that was refused is a value, and exactly that: nothing was written by it. A
//! write whose answer was lost, or which failed in the service, might have happened
//! ([`might_have_happened`]) and is never repeated here: whoever made it looks at the item first.
//! Whatever certainly did not happen, and whatever only reads, is repeated within the limits below.

use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Config, Credentials, IdentityCache, ProvideCredentials, Region,
    StalledStreamProtectionConfig,
};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use object_store::aws::AwsCredentialProvider;

use crate::config::{AwsAccess, DynamoDbOptions};
use crate::error::{Error, ErrorKind, Result, cause_in};
use crate::store::{s3, storage_failure};

pub use aws_sdk_dynamodb::Client;
pub use http::might_have_happened;

use http::Network;

mod http;

/// How often a request is made in all, where that is safe.
const ATTEMPTS_MAX: u32 = 5;
/// The waits between the attempts: the first at most, doubled each time up to the longest.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(100);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long a request with all its attempts may take.
const OPERATION_SECONDS_MAX: u64 = 20;
/// The region where nobody names one.
const DEFAULT_REGION: &str = "us-east-1";

/// How DynamoDB says what is wrong, where there is something for a person to mend.
const NO_TABLE: &str = "ResourceNotFoundException";
const NOT_ALLOWED: &str = "AccessDeniedException";
const NOT_VALID: &str = "ValidationException";
const NOT_AUTHENTIC: [&str; 5] = [
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "IncompleteSignatureException",
    "MissingAuthenticationTokenException",
    "ExpiredTokenException",
];

/// DynamoDB in one region.
#[derive(Debug)]
pub struct DynamoDb {
    client: Client,
    region: String,
}

impl DynamoDb {
    /// DynamoDB as `access` says. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] where what says how to reach it contradicts itself.
    pub(crate) fn open(access: &AwsAccess) -> Result<Self> {
        let options = with_environment(access);
        let unusable = |error: Error| {
            let message = format!("DynamoDB cannot be reached as it is configured: {error}");
            Error::new(ErrorKind::Configuration, message)
                .with_advice("check [dynamodb], [s3] and the AWS_ variables")
        };
        options.validate().map_err(unusable)?;
        let credentials = s3::credentials(access).map_err(unusable)?;
        let may_be_plain = options.allow_http == Some(true);
        let network = http::connect(options.request_seconds_max, may_be_plain).map_err(unusable)?;
        let region = options.region.unwrap_or_else(|| DEFAULT_REGION.to_owned());
        Ok(Self::through(network, credentials, region, options.endpoint))
    }

    fn through(
        network: Network,
        credentials: AwsCredentialProvider,
        region: String,
        endpoint: Option<String>,
    ) -> Self {
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(region.clone()))
            .credentials_provider(Borrowed(credentials))
            // S3's client keeps them, and knows when they expire.
            .identity_cache(IdentityCache::no_cache())
            .http_client(network)
            // An answer is small, and whole before it is looked at.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_classifier(http::RepeatWhatIsSafe)
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(ATTEMPTS_MAX)
                    .with_initial_backoff(RETRY_WAIT_MIN)
                    .with_max_backoff(RETRY_WAIT_MAX),
            )
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_timeout(Duration::from_secs(OPERATION_SECONDS_MAX))
                    .build(),
            );
        config.set_endpoint_url(endpoint);
        Self { client: Client::from_conf(config.build()), region }
    }

    /// What speaks to it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The address of `table`, for people.
    pub fn uri_of(table: &str) -> String {
        format!("dynamodb://{table}")
    }

    /// What `error` means, with which the call of this name (`GetItem`) about `table` failed.
    /// Whether it happened in spite of it, [`might_have_happened`] says.
    pub fn error<E>(&self, table: &str, call: &str, error: SdkError<E>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let object = Self::uri_of(table);
        let told = match cause_in(&error) {
            // Of getting the credentials, before the call was made.
            Some(cause) => storage_failure(&object, cause),
            None => self.failure(call, error.as_service_error().and_then(|error| error.code())),
        };
        told.with_object(object).with_cause(error)
    }

    fn failure(&self, call: &str, code: Option<&str>) -> Error {
        let (kind, message, advice) = match code {
            Some(NO_TABLE) => (
                ErrorKind::Configuration,
                "there is no such table in DynamoDB".to_owned(),
                format!("create it, or mend [dynamodb]: this is the region {}", self.region),
            ),
            Some(NOT_ALLOWED) => (
                ErrorKind::Configuration,
                format!("DynamoDB does not allow dynamodb:{call}"),
                format!("grant the function's identity dynamodb:{call} on the table"),
            ),
            Some(NOT_VALID) => (
                ErrorKind::Configuration,
                format!("DynamoDB refuses {call}"),
                "compare the keys of the table with those in docs/operations.md".to_owned(),
            ),
            Some(code) if NOT_AUTHENTIC.contains(&code) => (
                ErrorKind::StorageUnavailable,
                "DynamoDB does not accept the credentials".to_owned(),
                "renew or configure the credentials, then try again".to_owned(),
            ),
            _ => (
                ErrorKind::StorageUnavailable,
                format!("DynamoDB failed at {call}"),
                "try again".to_owned(),
            ),
        };
        Error::new(kind, message).with_advice(advice)
    }
}

/// What the configuration says, and where it says nothing, the environment.
fn with_environment(access: &AwsAccess) -> DynamoDbOptions {
    let AwsAccess { dynamodb, variables, .. } = access;
    let variable = |names: &[&str]| variables.first_of(names).map(str::to_owned);
    let allowed =
        variables.first_of(&["AWS_ALLOW_HTTP"]).map(|value| value.eq_ignore_ascii_case("true"));
    DynamoDbOptions {
        region: dynamodb.region.clone().or_else(|| variable(&["AWS_REGION", "AWS_DEFAULT_REGION"])),
        endpoint: dynamodb
            .endpoint
            .clone()
            .or_else(|| variable(&["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"])),
        allow_http: dynamodb.allow_http.or(allowed),
        ..dynamodb.clone()
    }
}

/// The credentials of S3's client.
#[derive(Debug)]
struct Borrowed(AwsCredentialProvider);

impl ProvideCredentials for Borrowed {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let found = self.0.get_credential().await.map_err(CredentialsError::provider_error)?;
            let (key, secret) = (&found.key_id, &found.secret_key);
            // When they expire, the client knows that lends them.
            Ok(Credentials::new(key, secret, found.token.clone(), None, "S3"))
        })
    }
}

#[cfg(test)]
mod tests;
