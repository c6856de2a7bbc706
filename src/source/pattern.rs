//! What a feed's sources say: files, folders, globs and addresses.
//!
//! Finding objects and telling where an announced object belongs use the same words and the same
//! matching, so that a sweep and an event agree on what a feed takes, and on what it is called.

use globset::{GlobBuilder, GlobMatcher};

use crate::error::{Error, ErrorKind, Result};
use crate::store::Stores;

/// The endings that a folder is searched for, each alone or followed by [`COMPRESSED_ENDINGS`].
const CSV_ENDINGS: [&str; 2] = [".csv", ".tsv"];
const COMPRESSED_ENDINGS: [&str; 13] = [
    ".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz", ".lz4", ".sz", ".snappy", ".deflate", ".zlib",
    ".zz", ".zip",
];
/// The characters that make an address a pattern.
const GLOB_CHARACTERS: [char; 4] = ['*', '?', '[', '{'];

/// One of a feed's sources.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// The canonical address, as if there were no wildcards, without a slash at its end.
    literal: String,
    /// Whether a slash at its end says that it is a folder.
    is_folder: bool,
    glob: Option<Glob>,
}

#[derive(Debug, Clone)]
struct Glob {
    /// The folder above the first wildcard, as it was written.
    folder: String,
    /// Its canonical address, without a slash at its end.
    base: String,
    matcher: GlobMatcher,
}

impl Pattern {
    /// Reads a source as a feed gives it; relative paths start where those of `stores` do.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for an address or a glob that is none.
    pub fn parse(stores: &Stores, text: &str) -> Result<Self> {
        let literal = without_slash(&stores.canonical(text)?).to_owned();
        let glob = match text.find(GLOB_CHARACTERS) {
            Some(first) => Some(Glob::parse(stores, text, first)?),
            None => None,
        };
        Ok(Self { literal, is_folder: text.ends_with('/'), glob })
    }

    /// The object's name below the folder or the glob's fixed part, where `uri`, a canonical
    /// address, is among what this stands for. An object of the very name that was written counts
    /// as well as the objects in a folder of that name: only the store could tell which is meant.
    pub fn relative<'a>(&self, uri: &'a str) -> Option<&'a str> {
        if uri == self.literal && !self.is_folder {
            return Some(file_name(uri));
        }
        match &self.glob {
            Some(glob) => glob.relative(uri),
            None => below(&self.literal, uri).filter(|_| has_csv_ending(uri)),
        }
    }

    /// Whether a slash at its end says that it is a folder.
    pub(super) fn is_folder(&self) -> bool {
        self.is_folder
    }

    /// The folder to be listed for it, as it was written; nothing for what has no wildcards.
    pub(super) fn glob_folder(&self) -> Option<&str> {
        self.glob.as_ref().map(|glob| glob.folder.as_str())
    }

    /// Whether its wildcards fit `uri`.
    pub(super) fn glob_matches(&self, uri: &str) -> bool {
        self.glob.as_ref().is_some_and(|glob| glob.matcher.is_match(uri))
    }
}

impl Glob {
    fn parse(stores: &Stores, text: &str, first: usize) -> Result<Self> {
        let folder_end = text[..first].rfind('/').map_or(0, |slash| slash + 1);
        let folder = if folder_end == 0 { "." } else { &text[..folder_end] };
        let base = without_slash(&stores.canonical(folder)?).to_owned();
        let pattern = format!("{}/{}", globset::escape(&base), &text[folder_end..]);
        let not_a_pattern = |cause| {
            Error::new(ErrorKind::Configuration, "this is not a pattern")
                .with_object(text)
                .with_cause(cause)
        };
        let matcher = GlobBuilder::new(&pattern)
            .literal_separator(true)
            .build()
            .map_err(not_a_pattern)?
            .compile_matcher();
        Ok(Self { folder: folder.to_owned(), base, matcher })
    }

    fn relative<'a>(&self, uri: &'a str) -> Option<&'a str> {
        below(&self.base, uri).filter(|_| self.matcher.is_match(uri))
    }
}

/// What `uri` is called below `folder`, if it is there.
pub(super) fn below<'a>(folder: &str, uri: &'a str) -> Option<&'a str> {
    let rest = uri.strip_prefix(without_slash(folder))?;
    rest.starts_with('/').then(|| rest.trim_start_matches('/'))
}

/// Whether the name is one that a folder is searched for.
pub(super) fn has_csv_ending(uri: &str) -> bool {
    let name = uri.to_ascii_lowercase();
    let plain = COMPRESSED_ENDINGS.iter().find_map(|ending| name.strip_suffix(ending));
    CSV_ENDINGS.iter().any(|ending| plain.unwrap_or(&name).ends_with(ending))
}

/// `address` without slashes at its end, but for those of its scheme.
fn without_slash(address: &str) -> &str {
    let trimmed = address.trim_end_matches('/');
    let is_root = trimmed.ends_with(':') && address[trimmed.len()..].starts_with("//");
    if is_root { &address[..trimmed.len() + 2] } else { trimmed }
}

fn file_name(uri: &str) -> &str {
    uri.rsplit('/').next().unwrap_or(uri)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn relative(pattern: &str, uri: &str) -> Option<String> {
        let stores = Stores::new(PathBuf::from("/here"));
        Pattern::parse(&stores, pattern).unwrap().relative(uri).map(str::to_owned)
    }

    #[test]
    fn an_object_is_known_by_the_sources_that_would_find_it() {
        for (pattern, uri, expected) in [
            ("a.csv", "file:///here/a.csv", Some("a.csv")),
            ("in", "file:///here/in/x/a.csv.gz", Some("x/a.csv.gz")),
            ("in", "file:///here/in/a.csv.bz2", Some("a.csv.bz2")),
            ("in", "file:///here/in/a.TSV.ZIP", Some("a.TSV.ZIP")),
            ("in", "file:///here/in/a.zip", None),
            ("in/", "file:///here/in/a.csv", Some("a.csv")),
            ("in", "file:///here/inn/a.csv", None),
            ("in", "file:///here/in/a.txt", None),
            ("in/a.csv/", "file:///here/in/a.csv", None),
            ("in/*.csv", "file:///here/in/a.csv", Some("a.csv")),
            ("in/*.csv", "file:///here/in/x/a.csv", None),
            ("in/**/*.csv", "file:///here/in/x/a.csv", Some("x/a.csv")),
            ("in/[1].csv", "file:///here/in/[1].csv", Some("[1].csv")),
            ("*.txt", "file:///here/a.txt", Some("a.txt")),
            ("memory:///in", "memory:///in/a.csv", Some("a.csv")),
            ("/", "file:///a/b.csv", Some("a/b.csv")),
            ("/*.csv", "file:///b.csv", Some("b.csv")),
        ] {
            assert_eq!(relative(pattern, uri).as_deref(), expected, "{pattern} {uri}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let stores = Stores::new(PathBuf::from("/here"));
        let error = Pattern::parse(&stores, "in/[a.csv").unwrap_err();
        assert_eq!((error.kind(), error.object()), (ErrorKind::Configuration, Some("in/[a.csv")));
    }
}
