//! Commits as Spark's `S3DynamoDBLogStore` makes them: which commit a version is, an entry in a
//! DynamoDB table decides, and the log file follows.
//!
//! It is from before S3 had conditional writes, and whoever writes one table has to keep to it. To
//! commit version N:
//!
//! 1. N is free: there is no log file, and no entry. The newest entry is N − 1, and its log file is
//!    there; where its writer did not come to that, it is *finished*, as in 4 and 5.
//! 2. The commit is put beside the log, in a file of a name of its own.
//! 3. An entry that names this file is put under N, if there is none. *Now it is decided*: whatever
//!    fails later, the next one who looks finishes it.
//! 4. The file is copied to where version N belongs in the log. Ours is never written over another's.
//! 5. The entry is marked as complete; a day later, DynamoDB may forget it.
//!
//! Before a table is read, its newest entry is finished ([`DynamoDbLog::finish_newest`]): else what
//! is decided may not be seen. An answer that was lost is found out about by looking at the entry,
//! which is ours if it names our file; where that cannot be found out either, and where the log
//! file could not be written, the outcome is unknown, and the table itself can say, once it is
//! loaded again.
//!
//! Writers who commit without entries, or under another name of the table, are not excluded by ours.
//! Where that is seen, nothing is written.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode};

use super::TEMP_FOLDER;
use super::slot::{Slot, file_name};
use crate::clock::Clock;
use crate::dynamodb::{DynamoDb, might_have_happened};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{refused, storage_error};
use crate::table::CommitOutcome;
use crate::table::offer::Holds;

/// How long an entry is kept after it is complete. Spark's default, too.
const ENTRY_SECONDS_MIN: i64 = 24 * 60 * 60;
/// The largest commit of another writer's that is finished here: it is held in memory.
const FINISH_BYTES_MAX: u64 = 32 << 20;
/// How often something is tried whose outcome is not known, or which failed.
const ATTEMPTS_MAX: u32 = 4;
/// The longest wait before the second attempt; it doubles for each one after.
const WAIT_MIN: Duration = Duration::from_millis(100);

const SETTLE: &str = "let all writers of the table commit in one way; docs/operations.md says how";

/// The attributes of an entry.
mod attribute {
    pub const TABLE_PATH: &str = "tablePath";
    pub const FILE_NAME: &str = "fileName";
    pub const TEMP_PATH: &str = "tempPath";
    pub const COMPLETE: &str = "complete";
    pub const EXPIRE_TIME: &str = "expireTime";
}

/// The entries of one Delta table.
pub(super) struct DynamoDbLog {
    dynamodb: Arc<DynamoDb>,
    /// The DynamoDB table that they are in.
    log_table: String,
    /// The Delta table's name in them, on which all its writers must agree.
    table_path: String,
    clock: Arc<dyn Clock>,
}

/// What is decided for one version.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    version: u64,
    /// The file of the commit, relative to the log.
    temp_path: String,
    /// Whether the log file is surely there.
    complete: bool,
    /// When it may be forgotten, in seconds since 1970.
    expire_time: Option<i64>,
}

/// Whose entry a version has.
enum Claim {
    Ours,
    Theirs,
    /// Ours may be there, now or later.
    Unknown,
}

impl DynamoDbLog {
    /// The entries of the Delta table at `address`, which is spelt as its other writers spell it:
    /// `s3a://` and `s3://` are two names.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] where DynamoDB cannot be reached as it is configured.
    pub fn open(environment: &Environment, address: &str, root: &Path) -> Result<Self> {
        let (scheme, rest) = address.split_once("://").unwrap_or_default();
        let bucket = rest.split('/').next().unwrap_or_default();
        Ok(Self {
            dynamodb: environment.stores.dynamodb()?,
            log_table: environment.stores.aws().dynamodb.log_table.clone(),
            table_path: format!("{scheme}://{bucket}/{root}"),
            clock: Arc::clone(&environment.clock),
        })
    }

    /// Finishes the newest commit, if its writer has not. Other entries are complete: whoever makes
    /// one finishes the one before.
    ///
    /// # Errors
    /// [`ErrorKind::TableInvalid`] where what is decided is lost, [`ErrorKind::TableTooLarge`], and
    /// those of the storage.
    pub async fn finish_newest(&self, any: &Slot<'_>) -> Result<()> {
        match self.newest_of(&self.table_path).await? {
            Some(entry) if !entry.complete => self.finish(&any.at(entry.version), &entry).await,
            _ => Ok(()),
        }
    }

    /// Makes `commit` the slot's version, if that is free, and finds out what became of it.
    ///
    /// # Errors
    /// Only when nothing happened: none of its entry was put, and none will be.
    pub async fn fill(&self, slot: &Slot<'_>, commit: &Bytes) -> Result<CommitOutcome> {
        if let Some(outcome) = self.look_first(slot, commit).await? {
            return Ok(outcome);
        }
        let entry = Entry {
            version: slot.version,
            temp_path: format!("{TEMP_FOLDER}/{}.{}", file_name(slot.version), slot.entropy.uuid()),
            complete: false,
            expire_time: None,
        };
        let temp = self.temp_of(slot, &entry)?;
        put_temp(slot, &temp, commit).await?;
        match self.claim(slot, &entry).await {
            Ok(Claim::Ours) => {}
            Ok(Claim::Theirs) => {
                forget(slot, &temp).await;
                return Ok(slot.confirm(CommitOutcome::Conflict).await);
            }
            Ok(Claim::Unknown) => return Ok(CommitOutcome::Unknown),
            Err(error) => {
                forget(slot, &temp).await;
                return Err(error);
            }
        }
        // It is decided. What follows can be late, and cannot be undone: it is no failure.
        let outcome = slot.fill(commit).await.unwrap_or_else(|error| {
            tracing::warn!(version = slot.version, %error, "decided, and not in the log yet");
            CommitOutcome::Unknown
        });
        if outcome != CommitOutcome::Unknown {
            self.mark_complete(&entry).await;
        }
        Ok(outcome)
    }

    /// What there is to say before anything is offered; nothing where the version is free.
    async fn look_first(&self, slot: &Slot<'_>, commit: &Bytes) -> Result<Option<CommitOutcome>> {
        let (holds, newest) = futures::join!(slot.look(commit), self.newest_of(&self.table_path));
        if let Some(seen) = seen_in(slot, &holds?) {
            return Ok(Some(slot.confirm(seen).await));
        }
        let Some(newest) = newest? else {
            return self.check_other_name().await.map(|()| None);
        };
        if newest.version >= slot.version {
            return self.look_again(slot, commit, &newest).await.map(Some);
        }
        if newest.version + 1 < slot.version {
            // Its successors may have been forgotten before it, but only after their day.
            if newest.expire_time.is_none_or(|time| time > self.clock.now().timestamp()) {
                return Err(self.bypassed(slot, &newest));
            }
        } else if !newest.complete {
            self.finish(&slot.at(newest.version), &newest).await?;
        }
        Ok(None)
    }

    /// What has become of a version that is decided, by the entry `newest` or before it.
    async fn look_again(
        &self,
        slot: &Slot<'_>,
        commit: &Bytes,
        newest: &Entry,
    ) -> Result<CommitOutcome> {
        if newest.version == slot.version && !newest.complete {
            self.finish(slot, newest).await?;
        }
        match seen_in(slot, &slot.look(commit).await?) {
            Some(seen) => Ok(slot.confirm(seen).await),
            None if slot.is_in_sight().await => Err(self.left_behind(newest)),
            // The log was cleaned up to here.
            None => Ok(CommitOutcome::Unknown),
        }
    }

    /// Puts `entry`, if its version has none, and finds out whose the version is.
    ///
    /// # Errors
    /// Only when ours is not there and never will be.
    async fn claim(&self, slot: &Slot<'_>, entry: &Entry) -> Result<Claim> {
        // Whether an earlier attempt may still arrive, or has arrived.
        let mut in_doubt = false;
        for attempt in 0..ATTEMPTS_MAX {
            wait_before(slot, attempt).await;
            let put = self.put(entry).condition_expression("attribute_not_exists(fileName)");
            let cause = match put.send().await {
                Ok(_) => return Ok(Claim::Ours),
                Err(cause) => cause,
            };
            if !in_doubt && is_refused_by_condition(&cause) {
                return Ok(Claim::Theirs);
            }
            if !in_doubt && !might_have_happened(&cause) {
                return Err(self.dynamodb.error(&self.log_table, "PutItem", cause));
            }
            tracing::debug!(version = slot.version, %cause, "looking whose the entry is");
            in_doubt = true;
            match self.entry_of(slot.version).await {
                Ok(Some(found)) if found.temp_path == entry.temp_path => return Ok(Claim::Ours),
                Ok(Some(_)) => return Ok(Claim::Theirs),
                Ok(None) => {}
                Err(error) => tracing::debug!(version = slot.version, %error, "cannot look"),
            }
        }
        Ok(Claim::Unknown)
    }

    /// Does for `entry` what its writer has not, or not yet.
    async fn finish(&self, slot: &Slot<'_>, entry: &Entry) -> Result<()> {
        tracing::info!(version = entry.version, "finishing a commit that is decided");
        let mut attempt = 0;
        while let Err(error) = self.copy(slot, entry).await {
            attempt += 1;
            if attempt == ATTEMPTS_MAX || error.kind() != ErrorKind::StorageUnavailable {
                return Err(error);
            }
            wait_before(slot, attempt).await;
        }
        self.mark_complete(entry).await;
        Ok(())
    }

    /// Copies a decided commit into the log, if it is not there.
    async fn copy(&self, slot: &Slot<'_>, entry: &Entry) -> Result<()> {
        if slot.is_filled().await? {
            return Ok(());
        }
        let temp = self.temp_of(slot, entry)?;
        let failed = |cause| storage_error(temp.as_ref(), cause);
        let found = match slot.store.get(&temp).await {
            Ok(found) => found,
            // Another may have finished it meanwhile, and taken the file away.
            Err(object_store::Error::NotFound { .. }) if slot.is_filled().await? => return Ok(()),
            Err(object_store::Error::NotFound { .. }) => return Err(self.lost(entry, &temp)),
            Err(cause) => return Err(failed(cause)),
        };
        if found.meta.size > FINISH_BYTES_MAX {
            return Err(self.too_large(entry, found.meta.size));
        }
        let commit = found.bytes().await.map_err(failed)?;
        match slot.store.put_opts(&slot.path(), commit.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(()),
            Err(_) if slot.is_filled().await? => Ok(()),
            Err(cause) => Err(storage_error(slot.path().as_ref(), cause)),
        }
    }

    /// Says that the log file is there. Whoever finds it unsaid says it, so this may fail.
    async fn mark_complete(&self, entry: &Entry) {
        let expire_time = Some(self.clock.now().timestamp() + ENTRY_SECONDS_MIN);
        let complete = Entry { complete: true, expire_time, ..entry.clone() };
        let put = self
            .put(&complete)
            .condition_expression("tempPath = :ours")
            .expression_attribute_values(":ours", text(&entry.temp_path));
        if let Err(error) = put.send().await {
            tracing::debug!(version = entry.version, %error, "the entry is not marked complete");
        }
    }

    /// Refuses a table that the log table knows by the other of its two names alone.
    async fn check_other_name(&self) -> Result<()> {
        let other = match self.table_path.strip_prefix("s3a://") {
            Some(rest) => format!("s3://{rest}"),
            None => self.table_path.replacen("s3://", "s3a://", 1),
        };
        if self.newest_of(&other).await?.is_none() {
            return Ok(());
        }
        let message = format!("the table's other writers call it {other:?}");
        Err(Error::new(ErrorKind::TableUnsupported, message)
            .with_object(&self.table_path)
            .with_advice("write the table's address as they do: s3a:// and s3:// exclude nobody"))
    }
}

/// DynamoDB's three calls.
impl DynamoDbLog {
    async fn newest_of(&self, table_path: &str) -> Result<Option<Entry>> {
        let query = self.dynamodb.client().query().table_name(&self.log_table);
        let found = query
            .key_condition_expression("tablePath = :path")
            .expression_attribute_values(":path", text(table_path))
            .scan_index_forward(false)
            .limit(1)
            .consistent_read(true)
            .send()
            .await
            .map_err(|cause| self.dynamodb.error(&self.log_table, "Query", cause))?;
        found.items().first().map(|item| self.parse(item)).transpose()
    }

    async fn entry_of(&self, version: u64) -> Result<Option<Entry>> {
        let get = self.dynamodb.client().get_item().table_name(&self.log_table);
        let found = get
            .key(attribute::TABLE_PATH, text(&self.table_path))
            .key(attribute::FILE_NAME, text(file_name(version)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|cause| self.dynamodb.error(&self.log_table, "GetItem", cause))?;
        found.item().map(|item| self.parse(item)).transpose()
    }

    fn put(
        &self,
        entry: &Entry,
    ) -> aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder {
        let put = self.dynamodb.client().put_item().table_name(&self.log_table);
        let put = put
            .item(attribute::TABLE_PATH, text(&self.table_path))
            .item(attribute::FILE_NAME, text(file_name(entry.version)))
            .item(attribute::TEMP_PATH, text(&entry.temp_path))
            .item(attribute::COMPLETE, text(entry.complete.to_string()));
        match entry.expire_time {
            Some(time) => put.item(attribute::EXPIRE_TIME, AttributeValue::N(time.to_string())),
            None => put,
        }
    }

    fn parse(&self, item: &HashMap<String, AttributeValue>) -> Result<Entry> {
        let text = |name| item.get(name).and_then(|value| value.as_s().ok());
        let number = |name| item.get(name).and_then(|value| value.as_n().ok());
        let parsed = || {
            Some(Entry {
                version: text(attribute::FILE_NAME)?.strip_suffix(".json")?.parse().ok()?,
                temp_path: text(attribute::TEMP_PATH)?.clone(),
                complete: text(attribute::COMPLETE)? == "true",
                expire_time: number(attribute::EXPIRE_TIME).and_then(|time| time.parse().ok()),
            })
        };
        parsed().ok_or_else(|| {
            let name = text(attribute::FILE_NAME).map_or("", String::as_str);
            self.invalid(format!("the entry {name:?} of the log table is none of a commit"))
                .with_advice("look at the DynamoDB table; nothing was written")
        })
    }

    fn temp_of(&self, slot: &Slot<'_>, entry: &Entry) -> Result<Path> {
        Path::parse(format!("{}/{}", slot.log, entry.temp_path)).map_err(|cause| {
            self.invalid(format!("the entry of version {} names no file", entry.version))
                .with_cause(cause)
                .with_advice("look at the DynamoDB table; nothing was written")
        })
    }
}

/// What is wrong.
impl DynamoDbLog {
    fn invalid(&self, message: String) -> Error {
        Error::new(ErrorKind::TableInvalid, message).with_object(&self.table_path)
    }

    fn lost(&self, entry: &Entry, temp: &Path) -> Error {
        let version = entry.version;
        self.invalid(format!("version {version} is decided, and its commit {temp} is missing"))
            .with_advice("bring the file back, or settle it as docs/operations.md says")
    }

    fn left_behind(&self, newest: &Entry) -> Error {
        let version = newest.version;
        self.invalid(format!("the log table says that version {version} is there, and it is not"))
            .with_advice(
                "if the table was deleted and begins anew, delete its old entries from DynamoDB",
            )
    }

    fn too_large(&self, entry: &Entry, bytes: u64) -> Error {
        let message = format!(
            "the commit of version {} has {bytes} bytes, and at most {FINISH_BYTES_MAX} are finished",
            entry.version
        );
        Error::new(ErrorKind::TableTooLarge, message)
            .with_object(&self.table_path)
            .with_advice("read the table once with Spark, which finishes it")
    }

    fn bypassed(&self, slot: &Slot<'_>, newest: &Entry) -> Error {
        let (last, entered) = (slot.version - 1, newest.version);
        let message = format!(
            "version {last} was committed without an entry in DynamoDB, where {entered} is the newest"
        );
        Error::new(ErrorKind::TableUnsupported, message)
            .with_object(&self.table_path)
            .with_advice(SETTLE)
    }
}

/// Puts the commit beside the log. It has a name that nobody else uses, so it is there or not.
async fn put_temp(slot: &Slot<'_>, temp: &Path, commit: &Bytes) -> Result<()> {
    let mut attempt = 0;
    while let Err(cause) = slot.store.put(temp, commit.clone().into()).await {
        let found = slot.store.head(temp).await;
        if found.is_ok_and(|found| found.size == commit.len() as u64) {
            return Ok(());
        }
        attempt += 1;
        if attempt == ATTEMPTS_MAX || refused(&cause) {
            return Err(storage_error(temp.as_ref(), cause));
        }
        wait_before(slot, attempt).await;
    }
    Ok(())
}

/// Deletes a commit that no entry names, and none will.
async fn forget(slot: &Slot<'_>, temp: &Path) {
    if let Err(error) = slot.store.delete(temp).await {
        tracing::debug!(%temp, %error, "a commit that lost its race is left behind");
    }
}

/// What a filled slot says; nothing of an empty one.
fn seen_in(slot: &Slot<'_>, holds: &Holds) -> Option<CommitOutcome> {
    match holds {
        Holds::Ours => Some(CommitOutcome::Committed(slot.version)),
        Holds::Theirs => Some(CommitOutcome::Conflict),
        Holds::Nothing => None,
    }
}

async fn wait_before(slot: &Slot<'_>, attempt: u32) {
    if attempt > 0 {
        slot.clock.sleep(slot.entropy.jitter(WAIT_MIN * 2_u32.pow(attempt))).await;
    }
}

fn is_refused_by_condition(error: &SdkError<PutItemError>) -> bool {
    error.as_service_error().is_some_and(PutItemError::is_conditional_check_failed_exception)
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}
