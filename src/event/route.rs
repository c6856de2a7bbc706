//! Which feeds an announced object is for.

use std::collections::HashSet;

use super::{AnnouncedObject, Message};
use crate::config::{Feed, Settings};
use crate::error::Result;
use crate::source::Pattern;
use crate::store::Stores;

/// The objects that one feed is to take.
#[derive(Debug)]
pub struct Route<'a> {
    /// The feed.
    pub feed: &'a Feed,
    /// Each object once, with its name below the source that it matches.
    pub objects: Vec<(&'a AnnouncedObject, &'a str)>,
}

/// Objects that no feed wants, each once.
pub type NoFeed<'a> = Vec<&'a AnnouncedObject>;

/// Sorts the objects of `messages` by feed. An object may be for several feeds.
///
/// # Errors
/// [`crate::error::ErrorKind::Configuration`] for a source of a feed that is no pattern.
pub fn route<'a>(
    stores: &Stores,
    settings: &'a Settings,
    messages: &'a [Message],
) -> Result<(Vec<Route<'a>>, NoFeed<'a>)> {
    let mut seen = HashSet::new();
    let objects: Vec<&AnnouncedObject> = messages
        .iter()
        .flat_map(|message| message.content.iter().flatten())
        .filter(|object| seen.insert(&object.uri))
        .collect();
    let mut routes = Vec::new();
    let mut wanted = HashSet::new();
    for feed in &settings.feeds {
        let patterns: Vec<Pattern> =
            feed.source.iter().map(|text| Pattern::parse(stores, text)).collect::<Result<_>>()?;
        let relative = |object: &'a AnnouncedObject| {
            let name = patterns.iter().find_map(|pattern| pattern.relative(&object.uri))?;
            Some((object, name))
        };
        let objects: Vec<_> = objects.iter().copied().filter_map(relative).collect();
        wanted.extend(objects.iter().map(|(object, _)| &object.uri));
        if !objects.is_empty() {
            routes.push(Route { feed, objects });
        }
    }
    let unwanted = objects.into_iter().filter(|object| !wanted.contains(&object.uri)).collect();
    Ok((routes, unwanted))
}
