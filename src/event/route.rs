//! Which feeds an announced object is for.

use std::collections::{HashMap, HashSet};

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
    /// Each object once.
    pub objects: Vec<Routed<'a>>,
}

/// An object that a feed is to take.
#[derive(Debug, Clone, Copy)]
pub struct Routed<'a> {
    /// The object, as it was announced first.
    pub object: &'a AnnouncedObject,
    /// Its name below the source that it matches.
    pub relative: &'a str,
    /// How often it has been handed out, this time included: the most of its messages.
    pub deliveries: u32,
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
    let mut deliveries: HashMap<&str, u32> = HashMap::new();
    let mut objects = Vec::new();
    for message in messages {
        for object in message.content.iter().flatten() {
            let most = deliveries.entry(&object.uri).or_insert_with(|| {
                objects.push(object);
                1
            });
            *most = message.receive_count.unwrap_or(1).max(*most);
        }
    }
    let mut routes = Vec::new();
    let mut wanted = HashSet::new();
    for feed in &settings.feeds {
        let patterns: Vec<Pattern> =
            feed.source.iter().map(|text| Pattern::parse(stores, text)).collect::<Result<_>>()?;
        let routed = |object: &'a AnnouncedObject| {
            let relative = patterns.iter().find_map(|pattern| pattern.relative(&object.uri))?;
            let deliveries = deliveries.get(object.uri.as_str()).copied().unwrap_or(1);
            Some(Routed { object, relative, deliveries })
        };
        let objects: Vec<_> = objects.iter().copied().filter_map(routed).collect();
        wanted.extend(objects.iter().map(|routed| &routed.object.uri));
        if !objects.is_empty() {
            routes.push(Route { feed, objects });
        }
    }
    let unwanted = objects.into_iter().filter(|object| !wanted.contains(&object.uri)).collect();
    Ok((routes, unwanted))
}
