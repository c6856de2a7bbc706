//! Finding source objects: files, folders, globs and addresses.

use futures::future;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use walkdir::WalkDir;

use super::pattern::{Pattern, below, has_csv_ending};
use super::{Announcement, identity};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Location, Stores, misdirected};

/// Objects as they are found.
type Finds<'a> = BoxStream<'a, Result<Announcement>>;

/// Finds the objects of `patterns`: files, folders (searched to the bottom for CSV endings), globs
/// and addresses. They come as they are listed, one pattern after another: what two patterns stand
/// for comes twice. Nothing is held but a page of a listing.
///
/// The stream ends with its first error: [`ErrorKind::Configuration`] for a pattern that is none,
/// before any object; [`ErrorKind::SourceUnavailable`] when a listing fails.
pub fn discover<'a>(stores: &'a Stores, patterns: &'a [String]) -> Finds<'a> {
    let parse = |text: &'a String| Ok((text.as_str(), Pattern::parse(stores, text)?));
    match patterns.iter().map(parse).collect::<Result<Vec<_>>>() {
        Ok(parsed) => stream::iter(parsed)
            .then(async |(text, pattern)| objects_of(stores, text, pattern).await)
            .try_flatten()
            .boxed(),
        Err(error) => stream::iter([Err(error)]).boxed(),
    }
}

async fn objects_of<'a>(stores: &'a Stores, text: &str, pattern: Pattern) -> Result<Finds<'a>> {
    match pattern.glob_folder().map(str::to_owned) {
        Some(folder) => glob(stores, text, pattern, &folder).await,
        None => file_or_folder(stores, text, &pattern).await,
    }
}

async fn file_or_folder<'a>(
    stores: &'a Stores,
    address: &str,
    pattern: &Pattern,
) -> Result<Finds<'a>> {
    let (location, unaddressable) = stores.locate(address)?;
    if unaddressable.is_some() {
        return Ok(only(Announcement { unaddressable, ..named(location, None) }));
    }
    if !pattern.is_folder()
        && let Ok(object) = location.store.head(&location.path).await
    {
        return Ok(only(named(location, Some(object.size))));
    }
    let mut listed = list(stores, &location, has_csv_ending).peekable();
    let is_one_object = !pattern.is_folder() && !is_local_directory(&location);
    let is_empty = std::pin::Pin::new(&mut listed).peek().await.is_none();
    if is_empty && (is_one_object || is_missing_directory(&location)) {
        // To be told that it is not there.
        return Ok(only(named(location, None)));
    }
    Ok(listed.boxed())
}

fn only<'a>(announcement: Announcement) -> Finds<'a> {
    stream::iter([Ok(announcement)]).boxed()
}

fn named(location: Location, size_hint: Option<u64>) -> Announcement {
    let relative = location.uri.rsplit('/').next().unwrap_or_default().to_owned();
    Announcement {
        location,
        relative,
        named: true,
        size_hint,
        listed_identity: None,
        deliveries: 1,
        unaddressable: None,
    }
}

/// An empty local folder cannot be told from a missing file by listing it.
fn is_local_directory(location: &Location) -> bool {
    location.uri.strip_prefix("file://").is_some_and(|path| std::path::Path::new(path).is_dir())
}

fn is_missing_directory(location: &Location) -> bool {
    location.uri.starts_with("file://") && !is_local_directory(location)
}

async fn glob<'a>(
    stores: &'a Stores,
    address: &str,
    pattern: Pattern,
    folder: &str,
) -> Result<Finds<'a>> {
    // A name may hold glob characters: what exists under the very name is meant.
    let (literal, unaddressable) = stores.locate(address)?;
    if unaddressable.is_none()
        && let Ok(object) = literal.store.head(&literal.path).await
    {
        return Ok(only(named(literal, Some(object.size))));
    }
    if is_local_directory(&literal) {
        return Ok(list(stores, &literal, has_csv_ending));
    }
    let base = stores.resolve(folder)?;
    if is_missing_directory(&base) {
        return Ok(only(named(literal, None)));
    }
    Ok(list(stores, &base, move |uri| pattern.glob_matches(uri)))
}

fn list<'a>(
    stores: &'a Stores,
    base: &Location,
    wanted: impl Fn(&str) -> bool + Send + 'a,
) -> Finds<'a> {
    let base = base.clone();
    if let Some(folder) = base.uri.strip_prefix("file://") {
        // The store ends a listing at the first name that it cannot take; a walk goes on.
        return match is_local_directory(&base) {
            true => stream::iter(walk(folder.to_owned(), base, wanted).map(Ok)).boxed(),
            false => stream::empty().boxed(),
        };
    }
    let uri = base.uri.clone();
    base.store
        .list(Some(&base.path))
        .filter(|listed| {
            // A folder that is not there is one that is empty.
            future::ready(!matches!(listed, Err(object_store::Error::NotFound { .. })))
        })
        .map_err(move |cause| cannot_list(&uri, cause))
        .try_filter_map(move |meta| future::ready(Ok(listed(stores, &base, meta, &wanted))))
        .boxed()
}

fn cannot_list(uri: &str, cause: object_store::Error) -> Error {
    misdirected(uri, &cause).unwrap_or_else(|| {
        Error::new(ErrorKind::SourceUnavailable, "cannot list this folder")
            .with_object(uri)
            .with_cause(cause)
    })
}

fn listed(
    stores: &Stores,
    base: &Location,
    meta: ObjectMeta,
    wanted: impl Fn(&str) -> bool,
) -> Option<Announcement> {
    let (uri, unaddressable) = stores.listed(&base.uri, &meta.location);
    // What consoles show as a folder is an empty object.
    let is_folder = uri.ends_with('/') && meta.size == 0;
    (wanted(&uri) && !is_folder).then(|| Announcement {
        relative: below(&base.uri, &uri).unwrap_or(&uri).to_owned(),
        named: false,
        size_hint: Some(meta.size),
        listed_identity: meta.e_tag.is_some().then(|| identity(&meta)),
        unaddressable,
        deliveries: 1,
        location: Location { uri, path: meta.location, ..base.clone() },
    })
}

/// Finds what is wanted below a local folder. A folder that may not be read is passed over with a
/// warning; an object whose name is no key is announced all the same, to be told of.
fn walk(
    folder: String,
    base: Location,
    wanted: impl Fn(&str) -> bool,
) -> impl Iterator<Item = Announcement> {
    let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    entries.filter_map(move |entry| {
        let entry = match entry {
            Ok(entry) if entry.file_type().is_dir() => return None,
            Ok(entry) => entry,
            Err(error) => {
                tracing::warn!(folder = base.uri, "passed over: {error}");
                return None;
            }
        };
        let uri = format!("file://{}", entry.path().display());
        let key = match entry.path().to_str() {
            Some(path) => Path::from_absolute_path(path).map_err(|error| error.to_string()),
            None => Err("its name is not UTF-8".to_owned()),
        };
        wanted(&uri).then(|| Announcement {
            relative: below(&base.uri, &uri).unwrap_or(&uri).to_owned(),
            deliveries: 1,
            unaddressable: key.as_ref().err().cloned(),
            location: Location { uri, path: key.unwrap_or_default(), ..base.clone() },
            named: false,
            size_hint: entry.metadata().ok().map(|meta| meta.len()),
            listed_identity: None,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn stores(folder: &tempfile::TempDir) -> Stores {
        Stores::new(PathBuf::from(folder.path()))
    }

    #[tokio::test]
    async fn discovers_files_folders_and_globs() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.csv", "b.csv.gz", "c.txt", "sub/d.CSV", "sub/[1].csv"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x\n").unwrap();
        }
        let stores = stores(&folder);
        let found = async |patterns: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(|&p| p.to_owned()).collect();
            let found: Vec<Announcement> =
                discover(&stores, &patterns).try_collect().await.unwrap();
            found.into_iter().map(|a| a.relative).collect::<Vec<_>>()
        };
        assert_eq!(found(&["."]).await, ["a.csv", "b.csv.gz", "sub/[1].csv", "sub/d.CSV"]);
        assert_eq!(found(&["*.csv", "a.csv", "."]).await.len(), 6);
        assert_eq!(found(&["**/*.CSV"]).await, ["sub/d.CSV"]);
        assert_eq!(found(&["sub/[1].csv"]).await, ["[1].csv"]);
        assert_eq!(found(&["c.txt", "missing.csv"]).await, ["c.txt", "missing.csv"]);
    }
}
