//! How Amazon's services are reached: what the configuration and the environment say.

use std::fmt;

use super::{DynamoDbOptions, S3Options, wrong};
use crate::error::Result;

/// All that says how Amazon's services are reached. What the configuration says counts first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AwsAccess {
    /// What the configuration says of S3.
    pub s3: S3Options,
    /// What it says of DynamoDB.
    pub dynamodb: DynamoDbOptions,
    /// What the environment says.
    pub variables: AwsVariables,
}

/// The variables of the environment that tell AWS's tools who we are and where to go.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct AwsVariables(Vec<(String, String)>);

impl AwsVariables {
    /// Those of this process; one that is empty counts as absent.
    pub fn from_environment() -> Self {
        let of_aws = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            (name.starts_with("AWS_") && !value.is_empty()).then_some((name, value))
        };
        Self(std::env::vars_os().filter_map(of_aws).collect())
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of the first of these variables that is there.
    pub fn first_of(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|wanted| {
            self.iter().find_map(|(name, value)| (name == *wanted).then_some(value))
        })
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for AwsVariables {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(variables: T) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Some values are secrets.
impl fmt::Debug for AwsVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Refuses a field that is there and says nothing.
pub(super) fn validate_texts(fields: &[(&str, &Option<String>)]) -> Result<()> {
    match fields.iter().find(|(_, value)| value.as_deref() == Some("")) {
        Some((field, _)) => Err(wrong(format!("{field} is empty")).with_advice("leave it out")),
        None => Ok(()),
    }
}

/// Refuses a `request_seconds_max` with which no request would have its answer, or that is longer
/// than `seconds_max`.
pub(super) fn validate_seconds(seconds: u64, seconds_max: u64) -> Result<()> {
    match seconds {
        _ if (1..=seconds_max).contains(&seconds) => Ok(()),
        _ => Err(wrong(format!("request_seconds_max is {seconds}"))
            .with_advice(format!("give it from 1 to {seconds_max}"))),
    }
}

/// Refuses an `endpoint` that is no server's address, or that is spoken to without encryption unless
/// `allow_http` says that it may be.
pub(super) fn validate_endpoint(endpoint: Option<&str>, allow_http: Option<bool>) -> Result<()> {
    let Some(endpoint) = endpoint else { return Ok(()) };
    match endpoint.split_once("://") {
        Some(("https", host)) if !host.is_empty() => Ok(()),
        Some(("http", host)) if !host.is_empty() => match allow_http {
            Some(true) => Ok(()),
            _ => Err(wrong("endpoint is not encrypted")
                .with_advice("write https://, or say allow_http = true")),
        },
        _ => Err(wrong(format!("endpoint {endpoint:?} is no address of a server"))
            .with_advice("write it as https://host or https://host:port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let variables = AwsVariables::from_iter([("AWS_SECRET_ACCESS_KEY", "hush")]);
        assert_eq!(format!("{variables:?}"), "{\"AWS_SECRET_ACCESS_KEY\"}");
    }

    #[test]
    fn the_more_special_variable_counts_first() {
        let variables = AwsVariables::from_iter([("AWS_A", "a"), ("AWS_B", "b")]);
        assert_eq!(variables.first_of(&["AWS_C", "AWS_B", "AWS_A"]), Some("b"));
        assert_eq!(variables.first_of(&["AWS_C"]), None);
    }

    #[test]
    fn a_request_has_some_time_and_not_for_ever() {
        for (request_seconds_max, of_s3, of_dynamodb) in [
            (0, false, false),
            (1, true, true),
            (20, true, true),
            (21, true, false),
            (301, false, false),
        ] {
            let s3 = S3Options { request_seconds_max, ..S3Options::default() };
            assert_eq!(s3.validate().is_ok(), of_s3, "{s3:?}");
            let dynamodb = DynamoDbOptions { request_seconds_max, ..DynamoDbOptions::default() };
            assert_eq!(dynamodb.validate().is_ok(), of_dynamodb, "{dynamodb:?}");
        }
    }

    #[test]
    fn an_endpoint_is_a_server() {
        for (endpoint, allow_http, is_fine) in [
            ("https://minio:9000", None, true),
            ("http://localhost:9000", Some(true), true),
            ("http://localhost:9000", None, false),
            ("localhost:9000", Some(true), false),
            ("https://", None, false),
            ("", None, false),
        ] {
            let endpoint = Some(endpoint.to_owned());
            let s3 = S3Options { endpoint: endpoint.clone(), allow_http, ..S3Options::default() };
            assert_eq!(s3.validate().is_ok(), is_fine, "{s3:?}");
            let dynamodb = DynamoDbOptions { endpoint, allow_http, ..DynamoDbOptions::default() };
            assert_eq!(dynamodb.validate().is_ok(), is_fine, "{dynamodb:?}");
        }
    }
}
