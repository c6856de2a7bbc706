//! Finding source objects: files, folders, globs and addresses.

use std::collections::BTreeSet;

use futures::stream::TryStreamExt;
use globset::{GlobBuilder, GlobMatcher};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use walkdir::WalkDir;

use super::Announcement;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Location, Stores};

/// The endings that a folder is searched for, each alone or followed by [`COMPRESSED_ENDINGS`].
const CSV_ENDINGS: [&str; 2] = [".csv", ".tsv"];
const COMPRESSED_ENDINGS: [&str; 3] = [".gz", ".zst", ".zstd"];
/// The characters that make an address a pattern.
const GLOB_CHARACTERS: [char; 4] = ['*', '?', '[', '{'];

/// Finds the objects of `patterns`: files, folders (searched to the bottom for CSV endings), globs
/// and addresses. Each object comes once, in the order of addresses within a pattern.
///
/// # Errors
/// [`ErrorKind::Configuration`] for a pattern that is none; [`ErrorKind::SourceUnavailable`] when a
/// listing fails.
pub async fn discover(stores: &Stores, patterns: &[String]) -> Result<Vec<Announcement>> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for pattern in patterns {
        let announcements = match pattern.find(GLOB_CHARACTERS) {
            Some(first) => glob(stores, pattern, first).await?,
            None => file_or_folder(stores, pattern).await?,
        };
        found.extend(announcements.into_iter().filter(|a| seen.insert(a.location.uri.clone())));
    }
    Ok(found)
}

async fn file_or_folder(stores: &Stores, address: &str) -> Result<Vec<Announcement>> {
    let location = stores.resolve(address)?;
    if !address.ends_with('/')
        && let Ok(object) = location.store.head(&location.path).await
    {
        return Ok(vec![named(location, Some(object.size))]);
    }
    let listed = list(stores, &location, has_csv_ending).await?;
    let is_one_object = !address.ends_with('/') && !is_local_directory(&location);
    if listed.is_empty() && (is_one_object || is_missing_directory(&location)) {
        // To be told that it is not there.
        return Ok(vec![named(location, None)]);
    }
    Ok(listed)
}

fn named(location: Location, size_hint: Option<u64>) -> Announcement {
    let relative = location.path.filename().unwrap_or_default().to_owned();
    Announcement { location, relative, named: true, size_hint, deliveries: 1, unaddressable: None }
}

/// An empty local folder cannot be told from a missing file by listing it.
fn is_local_directory(location: &Location) -> bool {
    location.uri.strip_prefix("file://").is_some_and(|path| std::path::Path::new(path).is_dir())
}

fn is_missing_directory(location: &Location) -> bool {
    location.uri.starts_with("file://") && !is_local_directory(location)
}

async fn glob(stores: &Stores, pattern: &str, first: usize) -> Result<Vec<Announcement>> {
    // A name may hold glob characters: what exists under the very name is meant.
    let literal = stores.resolve(pattern)?;
    if let Ok(object) = literal.store.head(&literal.path).await {
        return Ok(vec![named(literal, Some(object.size))]);
    }
    if is_local_directory(&literal) {
        return list(stores, &literal, has_csv_ending).await;
    }
    let folder_end = pattern[..first].rfind('/').map_or(0, |slash| slash + 1);
    let folder = if folder_end == 0 { "." } else { &pattern[..folder_end] };
    let base = stores.resolve(folder)?;
    if is_missing_directory(&base) {
        return Ok(vec![named(literal, None)]);
    }
    let matcher = matcher(&format!(
        "{}/{}",
        globset::escape(base.uri.trim_end_matches('/')),
        &pattern[folder_end..]
    ))?;
    list(stores, &base, |uri| matcher.is_match(uri)).await
}

fn matcher(pattern: &str) -> Result<GlobMatcher> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).build().map_err(|cause| {
        Error::new(ErrorKind::Configuration, "this is not a pattern")
            .with_object(pattern)
            .with_cause(cause)
    })?;
    Ok(glob.compile_matcher())
}

async fn list(
    stores: &Stores,
    base: &Location,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Announcement>> {
    let mut found = Vec::new();
    if let Some(folder) = base.uri.strip_prefix("file://") {
        // The store ends a listing at the first name that it cannot take; a walk goes on.
        if is_local_directory(base) {
            walk(std::path::Path::new(folder), base, wanted, &mut found);
        }
        return Ok(found);
    }
    let mut listing = base.store.list(Some(&base.path));
    loop {
        let meta: ObjectMeta = match listing.try_next().await {
            Ok(Some(meta)) => meta,
            Ok(None) => break,
            Err(object_store::Error::NotFound { .. }) => break,
            Err(cause) => {
                return Err(Error::new(ErrorKind::SourceUnavailable, "cannot list this folder")
                    .with_object(&base.uri)
                    .with_cause(cause));
            }
        };
        let uri = stores.uri_of(&base.uri, &meta.location);
        if wanted(&uri) {
            let relative = uri[base.uri.trim_end_matches('/').len()..].trim_start_matches('/');
            let relative = relative.to_owned();
            let location = Location { uri, path: meta.location, ..base.clone() };
            found.push(Announcement {
                location,
                relative,
                named: false,
                size_hint: Some(meta.size),
                deliveries: 1,
                unaddressable: None,
            });
        }
    }
    found.sort_by(|a, b| a.location.uri.cmp(&b.location.uri));
    Ok(found)
}

/// Finds what is wanted below a local folder. A folder that may not be read is passed over with a
/// warning; an object whose name is no key is announced all the same, to be told of.
fn walk(
    folder: &std::path::Path,
    base: &Location,
    wanted: impl Fn(&str) -> bool,
    found: &mut Vec<Announcement>,
) {
    for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) if entry.file_type().is_dir() => continue,
            Ok(entry) => entry,
            Err(error) => {
                tracing::warn!(folder = base.uri, "passed over: {error}");
                continue;
            }
        };
        let uri = format!("file://{}", entry.path().display());
        if !wanted(&uri) {
            continue;
        }
        let key = match entry.path().to_str() {
            Some(path) => Path::from_absolute_path(path).map_err(|error| error.to_string()),
            None => Err("its name is not UTF-8".to_owned()),
        };
        let relative = uri[base.uri.trim_end_matches('/').len()..].trim_start_matches('/');
        found.push(Announcement {
            relative: relative.to_owned(),
            deliveries: 1,
            unaddressable: key.as_ref().err().cloned(),
            location: Location { uri, path: key.unwrap_or_default(), ..base.clone() },
            named: false,
            size_hint: entry.metadata().ok().map(|meta| meta.len()),
        });
    }
}

fn has_csv_ending(uri: &str) -> bool {
    let name = uri.to_ascii_lowercase();
    let plain = COMPRESSED_ENDINGS.iter().find_map(|ending| name.strip_suffix(ending));
    CSV_ENDINGS.iter().any(|ending| plain.unwrap_or(&name).ends_with(ending))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn stores(folder: &tempfile::TempDir) -> Stores {
        Stores::new(PathBuf::from(folder.path()))
    }

    #[tokio::test]
    async fn discovers_files_folders_and_globs_once() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.csv", "b.csv.gz", "c.txt", "sub/d.CSV", "sub/[1].csv"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x\n").unwrap();
        }
        let stores = stores(&folder);
        let found = async |patterns: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(|&p| p.to_owned()).collect();
            let found = discover(&stores, &patterns).await.unwrap();
            found.into_iter().map(|a| a.relative).collect::<Vec<_>>()
        };
        assert_eq!(found(&["."]).await, ["a.csv", "b.csv.gz", "sub/[1].csv", "sub/d.CSV"]);
        assert_eq!(found(&["*.csv", "a.csv", "."]).await.len(), 4);
        assert_eq!(found(&["**/*.CSV"]).await, ["sub/d.CSV"]);
        assert_eq!(found(&["sub/[1].csv"]).await, ["[1].csv"]);
        assert_eq!(found(&["c.txt", "missing.csv"]).await, ["c.txt", "missing.csv"]);
    }
}
