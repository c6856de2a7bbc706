//! S3, and what speaks its language: one client for each bucket, opened when it is first needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::{
    AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider, S3ConditionalPut,
};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};

use super::s3_http::{self, Connector};
use crate::config::{AwsAccess, S3Options};
use crate::error::{Error, ErrorKind, Result};

/// How often a request is repeated that the store could not answer.
const RETRIES_MAX: usize = 6;
/// The waits between them: the first, doubled each time up to the longest.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(100);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long after its beginning a request is not repeated any more, beside the time that one may
/// take: one that hangs is repeated, too, where that is safe.
const RETRY_SECONDS_MAX: u64 = 60;
/// How long a connection may take. How long a request may, the configuration says.
const CONNECT_SECONDS_MAX: u64 = 5;
/// Connections that are kept open although idle.
const IDLE_CONNECTIONS_MAX: usize = 16;
/// What a bucket's name may have beside letters and digits; a wildcard is none.
const BUCKET_PUNCTUATION: [char; 3] = ['-', '.', '_'];

/// The buckets that have been opened.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    access: AwsAccess,
    open: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
}

impl Buckets {
    pub fn new(access: AwsAccess) -> Self {
        Self { access, open: Mutex::default() }
    }

    /// What says how they are reached.
    pub fn access(&self) -> &AwsAccess {
        &self.access
    }

    /// The client of a bucket. Nothing is asked of the bucket itself.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] where what says how to reach it contradicts itself.
    pub fn open(&self, bucket: &str) -> Result<Arc<dyn ObjectStore>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = open.get(bucket) {
            return Ok(Arc::clone(store));
        }
        let unusable = |cause| {
            Error::new(ErrorKind::Configuration, "S3 cannot be reached as it is configured")
                .with_object(format!("s3://{bucket}/"))
                .with_cause(cause)
                .with_advice("check [s3] and the AWS_ variables")
        };
        let store = builder(&self.access, bucket).and_then(AmazonS3Builder::build);
        let store: Arc<dyn ObjectStore> = Arc::new(store.map_err(unusable)?);
        open.insert(bucket.to_owned(), Arc::clone(&store));
        Ok(store)
    }
}

/// The credentials with which S3 is asked, for asking other services of Amazon's.
///
/// # Errors
/// [`ErrorKind::Configuration`] where there are some, but not whole.
pub(crate) fn credentials(access: &AwsAccess) -> Result<AwsCredentialProvider> {
    // They are not a bucket's, but the client is, and has to have one.
    let store = builder(access, "none").and_then(AmazonS3Builder::build).map_err(|cause| {
        Error::new(ErrorKind::Configuration, "the credentials are unusable").with_cause(cause)
    })?;
    Ok(Arc::clone(store.credentials()))
}

/// What the environment says, then what the configuration says, then what is not for either to say.
fn builder(access: &AwsAccess, bucket: &str) -> object_store::Result<AmazonS3Builder> {
    let mut builder = AmazonS3Builder::new();
    for (name, value) in access.variables.iter() {
        // Most variables of AWS's tools are not the client's.
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    builder = configured(builder, &access.s3);
    if let Some(endpoint) = endpoint_of(&builder, bucket) {
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    let region = builder.get_config_value(&AmazonS3ConfigKey::Region);
    Ok(builder
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(RetryConfig {
            backoff: BackoffConfig {
                init_backoff: RETRY_WAIT_MIN,
                max_backoff: RETRY_WAIT_MAX,
                base: 2.0,
            },
            max_retries: RETRIES_MAX,
            retry_timeout: Duration::from_secs(RETRY_SECONDS_MAX + access.s3.request_seconds_max),
        })
        .with_http_connector(Connector::new(region)))
}

fn configured(mut builder: AmazonS3Builder, options: &S3Options) -> AmazonS3Builder {
    // Options of the client replace each other as a whole; keys are set one by one.
    let client = |key| AmazonS3ConfigKey::Client(key);
    for (key, value) in client_limits(options.request_seconds_max) {
        builder = builder.with_config(client(key), value);
    }
    let S3Options {
        endpoint,
        region,
        virtual_hosted_style,
        allow_http,
        sse_kms_key_id,
        request_payer,
        unsigned,
        request_seconds_max: _,
    } = options;
    let text = |flag: &Option<bool>| flag.map(|flag| flag.to_string());
    for (key, value) in [
        (AmazonS3ConfigKey::S3Endpoint, endpoint.clone()),
        (AmazonS3ConfigKey::Region, region.clone()),
        (AmazonS3ConfigKey::VirtualHostedStyleRequest, text(virtual_hosted_style)),
        (client(ClientConfigKey::AllowHttp), text(allow_http)),
        (AmazonS3ConfigKey::RequestPayer, text(request_payer)),
        (AmazonS3ConfigKey::SkipSignature, text(unsigned)),
    ] {
        if let Some(value) = value {
            builder = builder.with_config(key, value);
        }
    }
    match sse_kms_key_id {
        Some(key) => builder.with_sse_kms_encryption(key),
        None => builder,
    }
}

/// What every client of Amazon's services keeps to, with the time that a request may take.
pub(crate) fn client_limits(request_seconds_max: u64) -> [(ClientConfigKey, String); 4] {
    [
        (ClientConfigKey::UserAgent, USER_AGENT.to_owned()),
        (ClientConfigKey::ConnectTimeout, format!("{CONNECT_SECONDS_MAX} seconds")),
        (ClientConfigKey::Timeout, format!("{request_seconds_max} seconds")),
        (ClientConfigKey::PoolMaxIdlePerHost, IDLE_CONNECTIONS_MAX.to_string()),
    ]
}

const USER_AGENT: &str = concat!("lakefeed/", env!("CARGO_PKG_VERSION"));

/// The endpoint as the client wants it: with the bucket in the host's name, where it is to be there.
fn endpoint_of(builder: &AmazonS3Builder, bucket: &str) -> Option<String> {
    let value = |key| builder.get_config_value(&key);
    let endpoint = value(AmazonS3ConfigKey::S3Endpoint).or(value(AmazonS3ConfigKey::Endpoint))?;
    let in_host = value(AmazonS3ConfigKey::VirtualHostedStyleRequest);
    match endpoint.split_once("://") {
        Some((scheme, host)) if in_host.as_deref() == Some("true") => {
            Some(format!("{scheme}://{bucket}.{host}"))
        }
        _ => Some(endpoint),
    }
}

/// The one way of writing an address of S3's, of which `rest` follows the scheme. Nothing of a key
/// is normalised: `a//b` and `a/b` are two objects.
pub(super) fn canonical(address: &str, rest: &str) -> Result<String> {
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    let legal = |c: char| c.is_ascii_alphanumeric() || BUCKET_PUNCTUATION.contains(&c);
    if bucket.is_empty() || !bucket.chars().all(legal) {
        return Err(Error::new(ErrorKind::Configuration, "this address names no bucket")
            .with_object(address)
            .with_advice("write it as s3://bucket/key; wildcards are for the key alone"));
    }
    Ok(format!("s3://{bucket}/{key}"))
}

/// The key that a listing could not give as it is; nothing for a path that is the key itself.
pub(super) fn unaddressable_key(path: &Path) -> Option<String> {
    s3_http::key_of_alias(path.as_ref())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::AwsVariables;
    use crate::store::{Stores, directory_url};

    fn access(s3: S3Options, variables: &[(&str, &str)]) -> AwsAccess {
        let variables = AwsVariables::from_iter(variables.iter().copied());
        AwsAccess { s3, variables, ..AwsAccess::default() }
    }

    #[test]
    fn an_address_is_written_in_one_way() {
        let stores = Stores::new(PathBuf::from("/here"));
        for (given, uri, path) in [
            ("s3://landing/orders/a.csv", "s3://landing/orders/a.csv", "orders/a.csv"),
            (
                "s3a://landing/orders/a b%20+=ü.csv",
                "s3://landing/orders/a b%20+=ü.csv",
                "orders/a b%20+=ü.csv",
            ),
            ("s3://lake/orders/", "s3://lake/orders/", "orders"),
            ("s3://lake", "s3://lake/", ""),
        ] {
            let location = stores.resolve(given).unwrap();
            assert_eq!((location.uri.as_str(), location.path.as_ref()), (uri, path), "{given}");
            assert!(!location.mutable_in_place);
        }
        let url = directory_url(&stores.resolve("s3a://lake/my orders").unwrap()).unwrap();
        assert_eq!(url.as_str(), "s3://lake/my%20orders/");
        for address in ["s3://", "s3:///key", "s3://land*/a.csv"] {
            assert_eq!(stores.resolve(address).unwrap_err().kind(), ErrorKind::Configuration);
        }
    }

    #[test]
    fn a_key_that_no_path_stands_for_is_located_and_not_resolved() {
        let stores = Stores::new(PathBuf::from("/here"));
        for uri in ["s3://b/a//b.csv", "s3://b//a.csv", "s3://b/a/../b.csv", "s3://b/a\u{1}.csv"] {
            let (location, reason) = stores.locate(uri).unwrap();
            assert_eq!((location.uri.as_str(), reason.is_some()), (uri, true));
            assert_eq!(stores.resolve(uri).unwrap_err().kind(), ErrorKind::Configuration);
        }
    }

    #[test]
    fn a_bucket_is_opened_once() {
        let buckets = Buckets::default();
        let [first, again, other] = ["a", "a", "b"].map(|bucket| buckets.open(bucket).unwrap());
        assert!(Arc::ptr_eq(&first, &again) && !Arc::ptr_eq(&first, &other));
    }

    #[test]
    fn the_configuration_counts_before_the_environment() {
        let variables = [
            ("AWS_ENDPOINT_URL", "https://one"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_CONDITIONAL_PUT", "disabled"),
            ("AWS_PAGER", ""),
        ];
        let value = |options, key: AmazonS3ConfigKey| {
            builder(&access(options, &variables), "b").unwrap().get_config_value(&key)
        };
        let ours = S3Options {
            endpoint: Some("https://two".into()),
            region: Some("eu-west-2".into()),
            virtual_hosted_style: Some(true),
            allow_http: Some(false),
            ..S3Options::default()
        };
        let allow_http = || AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
        for (key, by_environment, by_us) in [
            (AmazonS3ConfigKey::S3Endpoint, "https://one", "https://b.two"),
            (AmazonS3ConfigKey::Region, "eu-west-1", "eu-west-2"),
            (allow_http(), "true", "false"),
            (AmazonS3ConfigKey::ConditionalPut, "etag", "etag"),
        ] {
            assert_eq!(value(S3Options::default(), key).as_deref(), Some(by_environment));
            assert_eq!(value(ours.clone(), key).as_deref(), Some(by_us));
        }
    }

    #[test]
    fn half_of_the_credentials_is_a_mistake() {
        let variables = [("AWS_ACCESS_KEY_ID", "x")];
        let buckets = Buckets::new(access(S3Options::default(), &variables));
        assert_eq!(buckets.open("b").unwrap_err().kind(), ErrorKind::Configuration);
    }
}
