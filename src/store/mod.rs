//! Durable records: journal, inventory, generations, bundles. SQLite in WAL mode with `synchronous=FULL`: what a method
//! returned `Ok` for survives a kill and a power cut. Three leave the latter to whatever is written next, before which
//! nothing depends on them (`Store::deferred`): a bundle, a generation that begins, what is known of the repository.
//!
//! Goes in: records of the room `record`. Comes out: the same, read back.
//!
//! One process writes: [`Store::open`] takes an exclusive lock on the data folder. Any number may read beside it
//! ([`Store::read_only`]). Methods block for well under a millisecond (bundles aside), so they are called in place.
//!
//! **Invariant:** an operation's outcome and the inventory row that follows from it are written in one transaction, and
//! a generation becomes `applied` in the same transaction as the environment's record. Nothing here decides anything.

mod bundle;
mod journal;
mod lock;
mod prune;
mod read;
mod schema;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use journal::{Begin, Settled};
pub use lock::{Lock, LockError};
pub use prune::KEPT;

/// Why the store cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process writes to the data folder.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The data folder cannot be made or read.
    #[error("the data folder {path} cannot be used")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// There is no store yet.
    #[error("there is no store at {0}")]
    Missing(PathBuf),
    /// The store was written by a newer version.
    #[error("the store has schema {found}; this version knows up to {known}")]
    Newer {
        /// What the file says.
        found: i64,
        /// What this version knows.
        known: i64,
    },
    /// The file is no store, or its bytes are damaged.
    #[error("the store {0} is damaged, or is no store")]
    Damaged(PathBuf),
    /// SQLite's own error.
    #[error("the store cannot be read or written: {0}")]
    Sqlite(rusqlite::Error),
    /// A row does not hold what it should.
    #[error("the store holds a {what} that cannot be read")]
    Row {
        /// What sort of row.
        what: &'static str,
        /// The parser's answer.
        #[source]
        source: serde_json::Error,
    },
}

impl StoreError {
    /// What the reader can do now.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Lock(error) => error.hint(),
            Self::Missing(_) => {
                Some("run `trunkline run` or `trunkline apply` once, or name the daemon's data folder with `--data`".into())
            }
            Self::Newer { .. } => Some("use the newer trunkline that wrote it".into()),
            Self::Folder { .. } => Some("name another folder with `--data`, or make this one writable".into()),
            Self::Damaged(_) => Some(
                "stop the daemon and bring the file back from a backup; with a new store, nothing that runs counts as ours until `adopt = true` says so".into(),
            ),
            Self::Sqlite(_) => Some("see whether the disk is full or read-only, and who owns the data folder".into()),
            Self::Row { .. } => Some("an older or newer trunkline may have written it; bring the store back from a backup".into()),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Names the file where SQLite says that it is none of its own.
fn opened<T>(path: &Path, result: Result<T, StoreError>) -> Result<T, StoreError> {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    result.map_err(|error| match error {
        StoreError::Sqlite(error) if matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)) => {
            StoreError::Damaged(path.to_owned())
        }
        error => error,
    })
}

/// The store of one installation.
pub struct Store {
    connection: Mutex<Connection>,
    epoch: u64,
    /// Held for as long as this process may write.
    _lock: Option<Lock>,
}

impl Store {
    /// Opens the store in `data` for writing, making it where there is none.
    ///
    /// # Errors
    /// [`StoreError`]; `Lock` where another process has it.
    pub fn open(data: &Path) -> Result<Self, StoreError> {
        let lock = Lock::take(data)?;
        let path = file(data);
        // For its owner only, whatever the umask: SQLite gives the files beside it the same mode.
        let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        made.map_err(|source| StoreError::Folder { path: data.to_owned(), source })?;
        let connection = Connection::open(&path)?;
        opened(&path, schema::prepare(&connection))?;
        let epoch = opened(&path, next_epoch(&connection))?;
        Ok(Self { connection: Mutex::new(connection), epoch, _lock: Some(lock) })
    }

    /// Opens the store in `data` for reading, beside a daemon that writes.
    ///
    /// # Errors
    /// [`StoreError`]; `Missing` where there is none.
    pub fn read_only(data: &Path) -> Result<Self, StoreError> {
        let path = file(data);
        if !path.exists() {
            return Err(StoreError::Missing(path));
        }
        let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.execute_batch("PRAGMA query_only = ON; PRAGMA busy_timeout = 5000;")?;
        opened(&path, schema::check(&connection))?;
        Ok(Self { connection: Mutex::new(connection), epoch: 0, _lock: None })
    }

    /// An empty store in memory: what a preview reads where nothing was ever applied.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn in_memory() -> Result<Self, StoreError> {
        let connection = Connection::open_in_memory()?;
        schema::prepare(&connection)?;
        Ok(Self { connection: Mutex::new(connection), epoch: 0, _lock: None })
    }

    /// Which holder of the lock this is: higher than that of any before it, also where the store was lost in between. Hosts
    /// refuse one that is lower than they have seen. 0 where nothing may be written.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held rolled its transaction back: the connection is still good.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// The connection for what need not be on the disk when its method returns: the next transaction takes it along, since
    /// the log is written in order. It saves a sync, a few milliseconds each between a commit and the answer.
    fn deferred(&self) -> Result<Deferred<'_>, StoreError> {
        let connection = self.connection();
        connection.execute_batch("PRAGMA synchronous = NORMAL")?;
        Ok(Deferred(connection))
    }
}

/// See [`Store::deferred`]. Whatever becomes of what is written, everything after it is durable at once.
struct Deferred<'a>(MutexGuard<'a, Connection>);

impl Drop for Deferred<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.execute_batch("PRAGMA synchronous = FULL") {
            tracing::error!(%error, "The store cannot be set back to durable writes.");
        }
    }
}

/// The clock, or one more than the last: a store that is begun again on a host's side of things still comes after.
fn next_epoch(connection: &Connection) -> Result<u64, StoreError> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let number: i64 = connection.query_row(
        "INSERT INTO epoch (id, number) VALUES (1, ?1)
         ON CONFLICT (id) DO UPDATE SET number = max(number + 1, excluded.number) RETURNING number",
        [i64::try_from(now).unwrap_or(0)],
        |row| row.get(0),
    )?;
    Ok(u64::try_from(number).unwrap_or(0))
}

fn file(data: &Path) -> PathBuf {
    data.join("store.sqlite3")
}

fn to_row<T: Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|source| StoreError::Row { what, source })
}

fn from_row<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|source| StoreError::Row { what, source })
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;
    use crate::model::{EnvironmentId, Revision};
    use crate::plan::Plan;
    use crate::record::{Condition, ConditionReason, EnvironmentRecord, GenerationState, RunKind};

    fn environment() -> EnvironmentId {
        "production".parse().unwrap()
    }

    fn revision() -> Revision {
        format!("main@sha1:{}", "a".repeat(40)).parse().unwrap()
    }

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }

    #[test]
    fn one_process_writes_and_others_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Store::read_only(folder.path()), Err(StoreError::Missing(_))));
        let writer = Store::open(folder.path()).unwrap();
        let second = Store::open(folder.path()).err().unwrap();
        assert!(second.to_string().contains(&std::process::id().to_string()), "{second}");

        let record = EnvironmentRecord::new(environment(), now());
        writer.put_environment(&record).unwrap();
        let reader = Store::read_only(folder.path()).unwrap();
        assert_eq!(reader.environment(&environment()).unwrap(), Some(record.clone()));
        assert!(reader.put_environment(&record).is_err());
        drop(writer);
        Store::open(folder.path()).unwrap();
    }

    #[test]
    fn generations_count_forward_and_are_chained() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let plan = Plan {
            environment: environment(),
            changes: vec![],
            orphaned: vec![],
            blocked: vec![],
            rolling: vec![],
            batches: vec![],
            warnings: vec![],
        };
        let bundle = crate::model::Digest::of(b"bundle");
        let (plan, revision) = (&plan, &revision());
        let begin = Begin { plan, revision, kind: RunKind::Apply, bundle, quarantine: None, now: now() };
        let mut first = store.begin_generation(&begin).unwrap();
        assert_eq!(store.last_applied(&environment()).unwrap(), None);
        first.state = GenerationState::Applied;
        first.finished_at = Some(now());
        let record = EnvironmentRecord::new(environment(), now())
            .conclude(Condition::Ready { reason: ConditionReason::Applied, message: String::new() }, now());
        store.end_generation(&first, &record).unwrap();
        assert_eq!(store.last_applied(&environment()).unwrap(), Some(first.clone()));
        let second = store.begin_generation(&Begin { kind: RunKind::Rollback, ..begin }).unwrap();
        assert_eq!((second.number, second.previous), (2, Some(first.hash())));

        // Its process died: the next one ends it.
        let third = store.begin_generation(&begin).unwrap();
        let ended = store.generations(&environment(), 2).unwrap().pop().unwrap();
        assert_eq!((ended.number, ended.state, ended.finished_at), (2, GenerationState::Failed, Some(now())));
        assert_eq!((third.number, third.previous), (3, Some(ended.hash())));
    }

    #[test]
    fn what_is_written_after_something_deferred_is_durable_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let level = |connection: &Connection| connection.query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0)).unwrap();
        let (normal, full) = (1, 2);
        assert_eq!(level(&store.deferred().unwrap().0), normal);
        assert_eq!(level(&store.connection()), full);
        let panicked = std::thread::scope(|scope| {
            let write = || {
                let mut deferred = store.deferred().unwrap();
                let _open = deferred.0.transaction().unwrap();
                panic!("in the middle of a write");
            };
            scope.spawn(write).join()
        });
        assert!(panicked.is_err());
        assert_eq!(level(&store.connection()), full);
    }

    #[test]
    fn a_store_of_a_newer_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        drop(Store::open(folder.path()).unwrap());
        let connection = Connection::open(file(folder.path())).unwrap();
        connection.execute_batch("PRAGMA user_version = 99").unwrap();
        assert!(matches!(Store::open(folder.path()), Err(StoreError::Newer { found: 99, .. })));
    }
}
