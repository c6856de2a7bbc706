//! Requests on their way: to the feeds that they concern, through the pipeline, and back as receipts
//! and an answer to who sent them. The function and `lakefeed invoke` do the same, which is this.

use std::time::Duration;

use futures::stream::{TryChunksError, TryStreamExt};

use crate::config::{Feed, Mode, Settings};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{self, AnnouncedObject, Answer, Dispositions, Message, Request, Route, Routed};
use crate::ingest;
use crate::receipt::{Disposition, Observer, Receipt, Tally};
use crate::source::{self, Announcement, Pattern};

/// Objects of a sweep that are held at once.
const SWEEP_OBJECTS_MAX: usize = 4096;

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
    /// What happened to its objects.
    pub tally: Tally,
    /// How long it took.
    pub duration: Duration,
    /// Whether an error kept it from finding the rest.
    pub ended_early: bool,
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
                // What was late is left to the next sweep.
                failed += (of_feed.tally.failed - of_feed.tally.late) as usize;
                failed += usize::from(of_feed.ended_early);
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

/// Lists a feed's sources and takes what is missing, some objects at a time, however many there are.
async fn sweep_feed(
    environment: &Environment,
    feed: &Feed,
    observer: &dyn Observer,
) -> Result<Taken> {
    let began = environment.clock.monotonic();
    let mut tally = Tally::default();
    let found = source::discover(&environment.stores, &feed.source);
    let mut found = found.try_chunks(objects_at_once(feed.mode));
    let mut error = None;
    while error.is_none() {
        let (some, ended) = match found.try_next().await {
            Ok(Some(some)) => (some, None),
            Ok(None) => break,
            Err(TryChunksError(_, cause)) if feed.mode == Mode::Overwrite => return Err(cause),
            // What was found before the listing failed is taken all the same.
            Err(TryChunksError(some, cause)) => (some, Some(cause)),
        };
        if !ingest::has_time(environment) {
            tracing::info!(feed = feed.name, "the rest is left to the next sweep");
            break;
        }
        if !some.is_empty() {
            match ingest::ingest(environment, feed, some, observer).await {
                Ok(receipts) => tally.extend(&receipts),
                Err(cause) => error = Some(cause),
            }
        }
        error = error.or(ended);
    }
    match error {
        // Nothing was started.
        Some(error) if tally == Tally::default() => return Err(error),
        Some(ref error) => tracing::error!(feed = feed.name, "the sweep ends here: {error}"),
        None if tally == Tally::default() => {
            tracing::warn!(sources = ?feed.source, "no CSV objects are there");
        }
        None => {}
    }
    let duration = environment.clock.monotonic().saturating_sub(began);
    Ok(Taken { feed: feed.name.clone(), tally, duration, ended_early: error.is_some() })
}

/// How many objects of a sweep are taken together. All of them overwrite a table together, or none:
/// one more than are possible is refused.
fn objects_at_once(mode: Mode) -> usize {
    match mode {
        Mode::Once | Mode::Again | Mode::Append => SWEEP_OBJECTS_MAX,
        Mode::Overwrite => ingest::OBJECTS_PER_COMMIT_MAX + 1,
    }
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
        let began = environment.clock.monotonic();
        match take_announced(environment, route, observer).await {
            Ok(receipts) => {
                for receipt in &receipts {
                    dispositions.note(&receipt.source, receipt.disposition());
                }
                let mut tally = Tally::default();
                tally.extend(&receipts);
                let duration = environment.clock.monotonic().saturating_sub(began);
                let feed = route.feed.name.clone();
                feeds.push(Taken { feed, tally, duration, ended_early: false });
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
) -> Result<Vec<Receipt>> {
    let announced = |&Routed { object, relative, deliveries }: &Routed<'_>| {
        let AnnouncedObject { uri, size, .. } = object;
        Announcement::by_event(&environment.stores, uri, relative, *size, deliveries)
    };
    let announcements = route.objects.iter().map(announced).collect::<Result<Vec<_>>>()?;
    ingest::ingest(environment, route.feed, announcements, observer).await
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
