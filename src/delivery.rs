//! Messages on their way: to the feeds that want their objects, through the pipeline, and back as
//! receipts and an answer to who sent them.

use crate::config::Settings;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{self, AnnouncedObject, Answer, Dispositions, Message, Route, Routed};
use crate::ingest;
use crate::receipt::{Disposition, Observer, Receipt};
use crate::source::Announcement;

/// What became of an event's messages.
#[derive(Debug)]
pub struct Delivery {
    /// What happened to each object, once for each feed that wanted it.
    pub receipts: Vec<Receipt>,
    /// What the sender is told.
    pub answer: Answer,
    /// Records that announced nothing.
    pub ignored: usize,
    /// Objects that no feed wanted; they are acknowledged.
    pub no_feed: usize,
}

/// Takes the objects that `messages` announce into the tables of the feeds that want them. A feed
/// that cannot run, or a message that is not understood, holds back no other.
///
/// # Errors
/// [`ErrorKind::Configuration`], before anything was started: there is no feed, or one whose source
/// is no pattern.
pub async fn deliver(
    environment: &Environment,
    settings: &Settings,
    messages: &[Message],
    observer: &dyn Observer,
) -> Result<Delivery> {
    if settings.feeds.is_empty() {
        return Err(Error::new(ErrorKind::Configuration, "there is no feed to take objects")
            .with_advice("name a configuration with a [[feed]] by --config"));
    }
    for message in messages {
        if let Err(error) = &message.content {
            tracing::error!(message = message.id, "{error}");
        }
    }
    let (routes, no_feed) = event::route(&environment.stores, settings, messages)?;
    let mut dispositions = Dispositions::default();
    for object in &no_feed {
        tracing::info!(source = object.uri, "no feed wants it");
        dispositions.note(&object.uri, Disposition::Ack);
    }
    let mut receipts = Vec::new();
    for route in &routes {
        match take(environment, route, observer).await {
            Ok(of_feed) => {
                for receipt in &of_feed {
                    dispositions.note(&receipt.source, receipt.disposition());
                }
                receipts.extend(of_feed);
            }
            Err(error) => {
                tracing::error!(feed = route.feed.name, "{error}");
                for routed in &route.objects {
                    dispositions.note(&routed.object.uri, Disposition::of(error.kind()));
                }
            }
        }
    }
    Ok(Delivery {
        answer: Answer::to(messages, &dispositions),
        ignored: messages.iter().map(|message| message.ignored).sum(),
        no_feed: no_feed.len(),
        receipts,
    })
}

async fn take(
    environment: &Environment,
    route: &Route<'_>,
    observer: &dyn Observer,
) -> Result<Vec<Receipt>> {
    let announced = |&Routed { object, relative, deliveries }: &Routed<'_>| {
        let AnnouncedObject { uri, size, .. } = object;
        Announcement::by_event(&environment.stores, uri, relative, *size, deliveries)
    };
    let announcements = route.objects.iter().map(announced).collect::<Result<Vec<_>>>()?;
    ingest::ingest(environment, route.feed, announcements, observer).await
}
