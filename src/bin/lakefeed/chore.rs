//! What `maintain` does with a table's data files, where the build has the engine for it.

use lakefeed::config::Feed;
use lakefeed::environment::Environment;
use lakefeed::error::Result;

use crate::args::Chore;

#[cfg(feature = "maintain")]
mod with_engine {
    use lakefeed::maintain::{self, Compaction, Order, Retention};
    use lakefeed::memory::display_bytes;

    use super::*;

    pub use maintain::runtime;

    /// Does it, and says for a person what was done.
    pub async fn run(environment: &Environment, feed: &Feed, chore: &Chore) -> Result<String> {
        if chore.vacuum {
            let retention = match (chore.retain, chore.yes) {
                (None, _) => Retention::OfTable,
                (Some(hours), false) => Retention::Hours(hours),
                (Some(hours), true) => Retention::HoursAtAnyRate(hours),
            };
            let paths = maintain::vacuum(environment, feed, retention, chore.dry_run).await?;
            return Ok(vacuumed(&paths, chore.dry_run));
        }
        let order = chore.zorder.clone().map_or(Order::Kept, Order::Curve);
        maintain::compact(environment, feed, &order).await.map(|done| compacted(&done))
    }

    fn compacted(done: &Compaction) -> String {
        let Compaction { version, files_added, bytes_added, files_removed, bytes_removed } = done;
        let Some(version) = version else {
            return "there is nothing to put together\n".to_owned();
        };
        format!(
            "version {version}: {files_removed} data files of {} became {files_added} of {}\n",
            display_bytes(*bytes_removed),
            display_bytes(*bytes_added)
        )
    }

    fn vacuumed(paths: &[String], dry_run: bool) -> String {
        if dry_run {
            let lines = paths.iter().map(|path| format!("{path}\n")).collect::<String>();
            return format!("{lines}{} data files would be deleted\n", paths.len());
        }
        format!("{} data files were deleted\n", paths.len())
    }
}

#[cfg(not(feature = "maintain"))]
mod without_engine {
    use lakefeed::environment;
    use lakefeed::error::{Error, ErrorKind};

    use super::*;

    pub use environment::runtime;

    /// Says how it can be done.
    pub async fn run(_: &Environment, feed: &Feed, _: &Chore) -> Result<String> {
        Err(Error::new(
            ErrorKind::Configuration,
            "this build of lakefeed cannot put data files together or delete them",
        )
        .with_object(&feed.table)
        .with_advice(
            "build one that can, cargo build --release --features maintain, or use another engine's \
             OPTIMIZE and VACUUM",
        ))
    }
}

#[cfg(feature = "maintain")]
pub use with_engine::{run, runtime};
#[cfg(not(feature = "maintain"))]
pub use without_engine::{run, runtime};
