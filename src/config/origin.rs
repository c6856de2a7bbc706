//! Where the configuration is.

use super::{environment, wrong};
use crate::error::Result;

/// The variable that holds the whole configuration.
pub const TEXT_VARIABLE: &str = "LAKEFEED_CONFIG_TOML";
/// The variable that says where the configuration is.
pub const ADDRESS_VARIABLE: &str = "LAKEFEED_CONFIG";
/// The file that is read where nothing says otherwise, in the current folder.
const USUAL_FILE: &str = "lakefeed.toml";

/// Where the configuration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This is its text, from [`TEXT_VARIABLE`].
    Text(String),
    /// At this path or address.
    Address(String),
    /// There is none.
    Nowhere,
}

/// Where the configuration is: where `flag` says, else in [`TEXT_VARIABLE`], else where
/// [`ADDRESS_VARIABLE`] says, else in `lakefeed.toml` in the current folder, where there is one.
///
/// # Errors
/// [`crate::error::ErrorKind::Configuration`] where both variables say something.
pub fn origin(flag: Option<String>) -> Result<Origin> {
    let has_usual_file = std::path::Path::new(USUAL_FILE).is_file();
    choose(flag, environment, has_usual_file)
}

fn choose(
    flag: Option<String>,
    environment: impl Fn(&str) -> Option<String>,
    has_usual_file: bool,
) -> Result<Origin> {
    if let Some(address) = flag {
        return Ok(Origin::Address(address));
    }
    match (environment(TEXT_VARIABLE), environment(ADDRESS_VARIABLE)) {
        (Some(_), Some(_)) => {
            Err(wrong(format!("{TEXT_VARIABLE} and {ADDRESS_VARIABLE} both say something"))
                .with_advice("unset one of them"))
        }
        (Some(text), None) => Ok(Origin::Text(text)),
        (None, Some(address)) => Ok(Origin::Address(address)),
        (None, None) if has_usual_file => Ok(Origin::Address(USUAL_FILE.to_owned())),
        (None, None) => Ok(Origin::Nowhere),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_to_the_user_decides() {
        let both = |name: &str| Some(name.to_owned());
        let text = |name: &str| (name == "LAKEFEED_CONFIG_TOML").then(|| "t".to_owned());
        let address = |name: &str| (name == "LAKEFEED_CONFIG").then(|| "a".to_owned());
        let at = |address: &str| Origin::Address(address.to_owned());
        assert_eq!(choose(Some("f".into()), both, true).unwrap(), at("f"));
        assert_eq!(choose(None, text, true).unwrap(), Origin::Text("t".into()));
        assert_eq!(choose(None, address, true).unwrap(), at("a"));
        assert_eq!(choose(None, |_| None, true).unwrap(), at("lakefeed.toml"));
        assert_eq!(choose(None, |_| None, false).unwrap(), Origin::Nowhere);
        let error = choose(None, both, true).unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::Configuration);
    }
}
