//! What becomes of requests to DynamoDB, and what is told of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use object_store::aws::AwsCredential;
use object_store::client::{
    HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::{CredentialProvider, StaticCredentialProvider};

use super::*;
use crate::config::AwsVariables;
use crate::store::Misdirected;

fn access(dynamodb: DynamoDbOptions, variables: &[(&str, &str)]) -> AwsAccess {
    let variables = AwsVariables::from_iter(variables.iter().copied());
    AwsAccess { dynamodb, variables, ..AwsAccess::default() }
}

#[test]
fn the_configuration_counts_before_the_environment() {
    let all = [
        ("AWS_ENDPOINT_URL", "https://all"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_DEFAULT_REGION", "eu-west-2"),
        ("AWS_ALLOW_HTTP", "True"),
    ];
    let found = with_environment(&access(DynamoDbOptions::default(), &all));
    assert_eq!(found.endpoint.as_deref(), Some("https://all"));
    assert_eq!((found.region.as_deref(), found.allow_http), (Some("eu-west-1"), Some(true)));
    let special = [all[0], ("AWS_ENDPOINT_URL_DYNAMODB", "https://special")];
    let found = with_environment(&access(DynamoDbOptions::default(), &special));
    assert_eq!(found.endpoint.as_deref(), Some("https://special"));
    let ours = DynamoDbOptions {
        endpoint: Some("https://ours".into()),
        region: Some("eu-north-1".into()),
        allow_http: Some(false),
        ..DynamoDbOptions::default()
    };
    assert_eq!(with_environment(&access(ours.clone(), &all)), ours);
}

#[test]
fn what_contradicts_itself_is_refused_at_once() {
    let wrong = |variables: &[(&str, &str)]| {
        DynamoDb::open(&access(DynamoDbOptions::default(), variables)).unwrap_err()
    };
    let error = wrong(&[("AWS_ENDPOINT_URL", "http://localhost:8000")]);
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.message().contains("not encrypted"), "{error}");
    assert_eq!(wrong(&[("AWS_ACCESS_KEY_ID", "x")]).kind(), ErrorKind::Configuration);
}

#[test]
fn what_a_person_can_mend_is_told() {
    let variables = [("AWS_REGION", "eu-west-1")];
    let dynamodb = DynamoDb::open(&access(DynamoDbOptions::default(), &variables)).unwrap();
    for (code, kind, told) in [
        (Some(NO_TABLE), ErrorKind::Configuration, "eu-west-1"),
        (Some(NOT_ALLOWED), ErrorKind::Configuration, "dynamodb:GetItem"),
        (Some(NOT_VALID), ErrorKind::Configuration, "keys"),
        (Some(NOT_AUTHENTIC[0]), ErrorKind::StorageUnavailable, "credentials"),
        (Some("ThrottlingException"), ErrorKind::StorageUnavailable, "try again"),
        (None, ErrorKind::StorageUnavailable, "try again"),
    ] {
        let error = dynamodb.failure("GetItem", code);
        assert_eq!(error.kind(), kind, "{code:?}");
        assert!(error.advice().unwrap().contains(told), "{error}");
    }
}

/// What a server does with whatever it is asked.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// A status, and what is wrong.
    Status(u16, &'static str),
    /// None, for such a reason.
    Failure(HttpErrorKind),
}

/// A server that gives one answer, and counts how often.
#[derive(Debug, Clone)]
struct Canned {
    answer: Answer,
    asked: Arc<AtomicU32>,
}

#[async_trait]
impl HttpService for Canned {
    async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (status, code) = match self.answer {
            Answer::Failure(kind) => return Err(HttpError::new(kind, std::fmt::Error)),
            Answer::Status(status, code) => (status, code),
        };
        let mut response = HttpResponse::new(format!("{{\"__type\":\"x#{code}\"}}").into());
        *response.status_mut() = status.try_into().unwrap();
        Ok(response)
    }
}

fn answering(answer: Answer, credentials: AwsCredentialProvider) -> (DynamoDb, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let network = Network(HttpClient::new(Canned { answer, asked: Arc::clone(&asked) }));
    (DynamoDb::through(network, credentials, "eu-west-1".into(), None), asked)
}

fn somebody() -> AwsCredentialProvider {
    let credential = AwsCredential { key_id: "a".into(), secret_key: "b".into(), token: None };
    Arc::new(StaticCredentialProvider::new(credential))
}

/// How often a read was tried, how often a write, and whether the write might have happened.
async fn outcome(answer: Answer) -> (u32, u32, bool) {
    let key = || AttributeValue::S("x".into());
    let (dynamodb, asked) = answering(answer, somebody());
    let get = dynamodb.client().get_item().table_name("leases").key("k", key());
    get.send().await.unwrap_err();
    let reads = asked.swap(0, Ordering::SeqCst);
    let put = dynamodb.client().put_item().table_name("leases").item("k", key());
    let error = put.send().await.unwrap_err();
    (reads, asked.load(Ordering::SeqCst), might_have_happened(&error))
}

#[tokio::test(start_paused = true)]
async fn only_what_certainly_did_not_happen_is_done_again() {
    use Answer::{Failure, Status};
    for (answer, expected) in [
        (Status(400, "ConditionalCheckFailedException"), (1, 1, false)),
        (Status(400, "ThrottlingException"), (ATTEMPTS_MAX, ATTEMPTS_MAX, false)),
        (
            Status(400, "ProvisionedThroughputExceededException"),
            (ATTEMPTS_MAX, ATTEMPTS_MAX, false),
        ),
        (Status(500, "InternalServerError"), (ATTEMPTS_MAX, 1, true)),
        (Status(503, "ServiceUnavailable"), (ATTEMPTS_MAX, 1, true)),
        (Failure(HttpErrorKind::Connect), (ATTEMPTS_MAX, ATTEMPTS_MAX, false)),
        (Failure(HttpErrorKind::Timeout), (ATTEMPTS_MAX, 1, true)),
        (Failure(HttpErrorKind::Interrupted), (ATTEMPTS_MAX, 1, true)),
        (Failure(HttpErrorKind::Request), (ATTEMPTS_MAX, 1, true)),
        (Failure(HttpErrorKind::Decode), (ATTEMPTS_MAX, 1, true)),
    ] {
        assert_eq!(outcome(answer).await, expected, "{answer:?}");
    }
}

/// The credentials of nobody in particular.
#[derive(Debug)]
struct Nobody;

#[async_trait]
impl CredentialProvider for Nobody {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let source = Box::new(Misdirected::NoCredentials);
        Err(object_store::Error::Generic { store: "S3", source })
    }
}

#[tokio::test]
async fn without_credentials_nothing_is_asked() {
    let (dynamodb, asked) = answering(Answer::Status(500, ""), Arc::new(Nobody));
    let put = dynamodb.client().put_item().table_name("leases");
    let error = put.item("k", AttributeValue::S("x".into())).send().await.unwrap_err();
    assert!(!might_have_happened(&error));
    let error = dynamodb.error("leases", "PutItem", error);
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    assert!(error.advice().unwrap().contains("AWS_ACCESS_KEY_ID"), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}
