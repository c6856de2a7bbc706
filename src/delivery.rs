//! Requests on their way: to the feeds that they concern, through the pipeline, and back as receipts
//! and an answer to who sent them. The function and `lakefeed invoke` do the same, which is this.

use std::time::Duration;

use crate::config::{Feed, Settings};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{self, AnnouncedObject, Answer, Dispositions, Message, Request, Route, Routed};
use crate::ingest;
use crate::receipt::{Disposition, Observer, Receipt, Status};
use crate::source::{self, Announcement, Pattern};

/// What became of a request.
#[derive(Debug)]
pub struct Delivery {
    /// What the feeds did that had something to do, in the order in which they did it.
    pub feeds: Vec<Taken>,
    /// What the sender is told.
    pub answer: Answer,
    /// Records that announced nothing.
    pub ignored: usize,
    /// Objects that no feed wanted; they are acknowledged.
    pub no_feed: usize,
}

/// What one feed did with the objects that were for it.
#[derive(Debug)]
pub struct Taken {
    /// The feed's name.
    pub feed: String,
    /// What happened to each object.
    pub receipts: Vec<Receipt>,
    /// How long it took.
    pub duration: Duration,
}

/// Checks what can be checked of the feeds before the first request.
///
/// # Errors
/// [`ErrorKind::Configuration`]: there is no feed, or one whose source is no pattern.
pub fn check(environment: &Environment, settings: &Settings) -> Result<()> {
    if settings.feeds.is_empty() {
        return Err(Error::new(ErrorKind::Configuration, "there is no feed").with_advice(
            "name a configuration with a [[feed]]: by --config, by LAKEFEED_CONFIG, or its text in \
             LAKEFEED_CONFIG_TOML",
        ));
    }
    for text in settings.feeds.iter().flat_map(|feed| &feed.source) {
        Pattern::parse(&environment.stores, text)?;
    }
    Ok(())
}

/// Does what `request` asks for. A feed that cannot run, or a message that is not understood, holds
/// back no other.
///
/// # Errors
/// Those of [`check`], and [`ErrorKind::Configuration`] for a feed that there is not, before anything
/// was started; and those of [`sweep`].
pub async fn handle(
    environment: &Environment,
    settings: &Settings,
    request: &Request,
    observer: &dyn Observer,
) -> Result<Delivery> {
    check(environment, settings)?;
    match request {
        Request::Announced(messages) => deliver(environment, settings, messages, observer).await,
        Request::Sweep(name) => sweep(environment, &[settings.feed(name)?], observer).await,
        Request::SweepAll => {
            let feeds: Vec<&Feed> = settings.feeds.iter().collect();
            sweep(environment, &feeds, observer).await
        }
    }
}

/// Lists the sources of `feeds`, and takes what is missing. What there is no time for is left to the
/// next sweep, and is no failure of this one.
///
/// # Errors
/// Why a feed could not run, where it is the only one.
pub async fn sweep(
    environment: &Environment,
    feeds: &[&Feed],
    observer: &dyn Observer,
) -> Result<Delivery> {
    let mut taken = Vec::new();
    let mut failed = 0;
    for feed in in_turn(environment, feeds) {
        if !ingest::has_time(environment) {
            tracing::info!(feed = feed.name, "left to the next sweep");
            continue;
        }
        match sweep_feed(environment, feed, observer).await {
            Ok(of_feed) => {
                failed += of_feed.receipts.iter().filter(|receipt| has_failed(receipt)).count();
                taken.push(of_feed);
            }
            Err(error) if feeds.len() == 1 => return Err(error),
            Err(error) => {
                tracing::error!(feed = feed.name, "{error}");
                failed += 1;
            }
        }
    }
    let answer = if failed == 0 { Answer::Done } else { Answer::Failed(failed) };
    Ok(Delivery { feeds: taken, answer, ignored: 0, no_feed: 0 })
}

/// Whether the object needs more than another sweep.
fn has_failed(receipt: &Receipt) -> bool {
    let was_late =
        receipt.error.as_ref().is_some_and(|error| error.kind == ErrorKind::DeadlineExceeded);
    receipt.status == Status::Failed && !was_late
}

async fn sweep_feed(
    environment: &Environment,
    feed: &Feed,
    observer: &dyn Observer,
) -> Result<Taken> {
    let found = source::discover(&environment.stores, &feed.source).await?;
    if found.is_empty() {
        tracing::warn!(sources = ?feed.source, "no CSV objects are there");
    }
    take(environment, feed, found, observer).await
}

/// Takes the objects that `messages` announce into the tables of the feeds that want them.
async fn deliver(
    environment: &Environment,
    settings: &Settings,
    messages: &[Message],
    observer: &dyn Observer,
) -> Result<Delivery> {
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
    let mut feeds = Vec::new();
    for route in in_turn(environment, &routes) {
        match take_announced(environment, route, observer).await {
            Ok(taken) => {
                for receipt in &taken.receipts {
                    dispositions.note(&receipt.source, receipt.disposition());
                }
                feeds.push(taken);
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
        feeds,
    })
}

async fn take_announced(
    environment: &Environment,
    route: &Route<'_>,
    observer: &dyn Observer,
) -> Result<Taken> {
    let announced = |&Routed { object, relative, deliveries }: &Routed<'_>| {
        let AnnouncedObject { uri, size, .. } = object;
        Announcement::by_event(&environment.stores, uri, relative, *size, deliveries)
    };
    let announcements = route.objects.iter().map(announced).collect::<Result<Vec<_>>>()?;
    take(environment, route.feed, announcements, observer).await
}

async fn take(
    environment: &Environment,
    feed: &Feed,
    announcements: Vec<Announcement>,
    observer: &dyn Observer,
) -> Result<Taken> {
    let began = environment.clock.monotonic();
    let receipts = ingest::ingest(environment, feed, announcements, observer).await?;
    let duration = environment.clock.monotonic().saturating_sub(began);
    Ok(Taken { feed: feed.name.clone(), receipts, duration })
}

/// Whose turn it is first, where time may run out: any, so that one feed that always takes all of
/// the time does not keep the others from theirs for ever.
fn in_turn<'a, T>(environment: &Environment, all: &'a [T]) -> impl Iterator<Item = &'a T> {
    let first = match environment.time_box {
        Some(_) => environment.entropy.bits(32) as usize % all.len().max(1),
        None => 0,
    };
    all[first..].iter().chain(&all[..first])
}

#[cfg(test)]
mod tests;
