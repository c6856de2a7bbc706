//! How S3 is reached: the `[s3]` table.

use serde::Deserialize;

use super::aws::{validate_endpoint, validate_texts};
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
        validate_texts(&[
            ("endpoint", &self.endpoint),
            ("region", &self.region),
            ("sse_kms_key_id", &self.sse_kms_key_id),
        ])?;
        validate_endpoint(self.endpoint.as_deref(), self.allow_http)
    }
}
