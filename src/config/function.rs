//! What AWS Lambda tells a function of itself.

use super::{environment, wrong};
use crate::error::Result;

/// Who a function is, by the variables that AWS Lambda sets.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionIdentity {
    /// The function's name.
    pub name: String,
    /// The log stream that is this very instance's, where there is one.
    pub log_stream: Option<String>,
}

impl FunctionIdentity {
    /// Who this process is.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Configuration`] where it is no function of AWS Lambda.
    pub fn from_environment() -> Result<Self> {
        let name = environment("AWS_LAMBDA_FUNCTION_NAME");
        match (environment("AWS_LAMBDA_RUNTIME_API"), name) {
            (Some(_), Some(name)) => {
                Ok(Self { name, log_stream: environment("AWS_LAMBDA_LOG_STREAM_NAME") })
            }
            _ => Err(wrong("this program is a function, and runs in AWS Lambda alone")
                .with_advice("on a command line, `lakefeed invoke EVENT.json` does the same")),
        }
    }
}
