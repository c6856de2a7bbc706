//! What the names of data files tell: what they were planned on.
//!
//! A file is named by a commit of the plan that it was written for, or by none, ever. A plan is
//! committed only where its ledger stands behind the fence that it was planned under. So once the
//! fence has moved, what carries an older one and is not named yet never will be.

use uuid::Uuid;

/// How the names of our data files begin, and end.
const PREFIX: &str = "lakefeed-";
const SUFFIX: &str = ".zstd.parquet";
/// A hyphen, and a UUID.
const UNIQUE_BYTES: usize = 37;

/// Under which fence of which ledger a data file was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOrigin {
    /// The ledger's name.
    pub ledger: String,
    /// Its fence, as it stood on the pin that the file was planned on.
    pub fence: u64,
}

impl FileOrigin {
    /// The name of a file of this origin.
    pub fn file_name(&self, unique: Uuid) -> String {
        format!("{PREFIX}{}-{}-{unique}{SUFFIX}", self.ledger, self.fence)
    }

    /// The origin of the file of this name; nothing where it is not one of ours.
    pub fn of_file(name: &str) -> Option<Self> {
        let name = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
        let (origin, unique) = name.split_at_checked(name.len().checked_sub(UNIQUE_BYTES)?)?;
        Uuid::try_parse(unique.strip_prefix('-')?).ok()?;
        let (ledger, fence) = origin.rsplit_once('-')?;
        Some(Self { ledger: ledger.to_owned(), fence: fence.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_tells_its_origin(ledger in "[A-Za-z0-9_-]{1,20}", fence: u64, unique: u128) {
            let origin = FileOrigin { ledger, fence };
            let name = origin.file_name(Uuid::from_u128(unique));
            prop_assert_eq!(FileOrigin::of_file(&name), Some(origin));
        }

        #[test]
        fn any_text_is_a_name(name in ".{0,60}") {
            prop_assert_eq!(FileOrigin::of_file(&name), None);
        }
    }

    #[test]
    fn files_of_others_have_no_origin_of_ours() {
        let unique = Uuid::from_u128(7);
        for name in [
            format!("part-00000-{unique}-c000.zstd.parquet"),
            format!("part-default-0-{unique}.zstd.parquet"),
            format!("lakefeed-default-{unique}.zstd.parquet"),
            format!("lakefeed-0-{unique}.zstd.parquet"),
            format!("lakefeed-default-0-{unique}.parquet"),
            "lakefeed-default-0.zstd.parquet".to_owned(),
        ] {
            assert_eq!(FileOrigin::of_file(&name), None, "{name}");
        }
    }
}
