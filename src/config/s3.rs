//! How S3 is reached: the `[s3]` table, and what the environment says.

use std::fmt;

use serde::Deserialize;

use super::wrong;
use crate::error::Result;

/// The `[s3]` table of `lakefeed.toml`. What is left out is as the environment says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Options {
    /// The address of a store other than Amazon's.
    pub endpoint: Option<String>,
    /// The region of the buckets.
    pub region: Option<String>,
    /// Whether the bucket is part of the host's name and not of the path.
    pub virtual_hosted_style: Option<bool>,
    /// Whether the endpoint may be spoken to without encryption.
    pub allow_http: Option<bool>,
    /// The key of the key management service with which what is written is encrypted.
    pub sse_kms_key_id: Option<String>,
    /// Whether we pay for requests to buckets of others.
    pub request_payer: Option<bool>,
    /// Whether requests go unsigned, to buckets that anyone may read.
    pub unsigned: Option<bool>,
}

impl S3Options {
    /// Checks what no single field can say of itself.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Configuration`], naming the field.
    pub fn validate(&self) -> Result<()> {
        for (field, value) in [
            ("endpoint", &self.endpoint),
            ("region", &self.region),
            ("sse_kms_key_id", &self.sse_kms_key_id),
        ] {
            if value.as_deref() == Some("") {
                return Err(wrong(format!("{field} is empty")).with_advice("leave it out"));
            }
        }
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        match endpoint.split_once("://") {
            Some(("https", host)) if !host.is_empty() => Ok(()),
            Some(("http", host)) if !host.is_empty() => match self.allow_http {
                Some(true) => Ok(()),
                _ => Err(wrong("endpoint is not encrypted")
                    .with_advice("write https://, or say allow_http = true")),
            },
            _ => Err(wrong(format!("endpoint {endpoint:?} is no address of a server"))
                .with_advice("write it as https://host or https://host:port")),
        }
    }
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

/// All that says how S3 is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct S3Access {
    /// What the configuration says, which counts first.
    pub options: S3Options,
    /// What the environment says.
    pub variables: AwsVariables,
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
    fn an_endpoint_is_a_server() {
        let of = |endpoint: &str, allow_http| S3Options {
            endpoint: Some(endpoint.to_owned()),
            allow_http,
            ..S3Options::default()
        };
        for (options, is_fine) in [
            (of("https://minio:9000", None), true),
            (of("http://localhost:9000", Some(true)), true),
            (of("http://localhost:9000", None), false),
            (of("localhost:9000", Some(true)), false),
            (of("https://", None), false),
            (of("", None), false),
        ] {
            assert_eq!(options.validate().is_ok(), is_fine, "{options:?}");
        }
    }
}
