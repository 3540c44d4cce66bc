//! The messages of all queues, in one SQLite database: a message out of attempts changes queues in one transaction.
//!
//! A message is ready when it is not leased and its time has come. A lease hands it out; settling it is fenced by the
//! lease, so that a consumer that was too slow settles nothing.
//!
//! **Invariant:** this file knows no clock and no consumer; times are milliseconds since 1970 and come in as arguments.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::super::super::EdgeError;
use super::super::super::record::fresh_hex;
use super::super::open_database;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS message (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  queue TEXT NOT NULL,
  id TEXT NOT NULL,
  format TEXT NOT NULL,
  body BLOB NOT NULL,
  timestamp INTEGER NOT NULL,
  visible_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  lease TEXT,
  leased_until INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS message_ready ON message (queue, visible_at, seq) WHERE lease IS NULL;
CREATE INDEX IF NOT EXISTS message_age ON message (queue, timestamp);
CREATE INDEX IF NOT EXISTS message_leased ON message (lease) WHERE lease IS NOT NULL;
UPDATE message SET lease = NULL, leased_until = NULL, attempts = attempts + 1 WHERE lease LIKE 'worker:%';
";

/// The messages of all queues.
pub(in crate::edge) struct Messages(Connection);

/// A message that is to be added.
#[derive(Debug, Clone)]
pub(in crate::edge) struct New {
    /// `text`, `json`, `bytes` or `v8`.
    pub(in crate::edge) format: String,
    pub(in crate::edge) body: Vec<u8>,
    /// Seconds.
    pub(in crate::edge) delay: u64,
}

/// A message that was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::edge) struct Message {
    seq: i64,
    pub(in crate::edge) id: String,
    pub(in crate::edge) format: String,
    pub(in crate::edge) body: Vec<u8>,
    pub(in crate::edge) timestamp: i64,
    /// How often it was handed out before.
    pub(in crate::edge) attempts: u32,
    /// The lease that it is out under.
    pub(in crate::edge) lease: String,
}

/// What a queue holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::edge) struct Stats {
    pub(in crate::edge) count: u64,
    pub(in crate::edge) bytes: u64,
    /// 0 where there is none.
    pub(in crate::edge) oldest: i64,
}

/// What becomes of messages whose handling failed.
#[derive(Debug, Clone)]
pub(in crate::edge) struct Failed {
    /// Beyond this many further attempts a message is dead.
    pub(in crate::edge) max_retries: u32,
    /// The id of the queue that dead messages go to; without one they are dropped.
    pub(in crate::edge) dead_letters: Option<String>,
}

/// When something is due on a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::edge) enum Due {
    Now,
    At(i64),
    Never,
}

impl Messages {
    /// Opens the database.
    pub(super) fn open(path: &Path) -> Result<Self, EdgeError> {
        open_database(path, SCHEMA).map(Self)
    }

    /// Adds messages, all or none.
    pub(in crate::edge) fn insert(&mut self, queue: &str, new: &[New], now: i64) -> rusqlite::Result<()> {
        let transaction = self.0.transaction()?;
        for message in new {
            let visible = now.saturating_add(i64::try_from(message.delay).unwrap_or(i64::MAX).saturating_mul(1000));
            transaction
                .prepare_cached(
                    "INSERT INTO message (queue, id, format, body, timestamp, visible_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![queue, fresh_hex(), message.format, message.body, now, visible])?;
        }
        transaction.commit()
    }

    /// Drops what is older than the retention, and lets go of leases that are over.
    pub(in crate::edge) fn sweep(&mut self, queue: &str, retention_ms: i64, failed: &Failed, now: i64) -> rusqlite::Result<()> {
        self.0
            .prepare_cached("DELETE FROM message WHERE queue = ?1 AND timestamp <= ?2")?
            .execute(params![queue, now - retention_ms])?;
        let over = "queue = ?1 AND lease IS NOT NULL AND leased_until <= ?2";
        let late: Vec<(i64, String)> = self
            .0
            .prepare_cached(&format!("SELECT seq, lease FROM message WHERE {over}"))?
            .query_map(params![queue, now], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (seq, lease) in late {
            self.fail_row(seq, &lease, now, failed)?;
        }
        Ok(())
    }

    /// Whether a batch is due: it is full, its first message has waited, or a message is there again after a failure.
    pub(in crate::edge) fn due(&self, queue: &str, size: u32, wait_ms: i64, now: i64) -> rusqlite::Result<Due> {
        let ready = "FROM message WHERE queue = ?1 AND lease IS NULL";
        let number: u32 = self
            .0
            .prepare_cached(&format!("SELECT count(*) FROM (SELECT 1 {ready} AND visible_at <= ?2 LIMIT ?3)"))?
            .query_row(params![queue, now, size], |row| row.get(0))?;
        if number >= size {
            return Ok(Due::Now);
        }
        let (first, again): (Option<i64>, Option<i64>) = self
            .0
            .prepare_cached(&format!("SELECT min(visible_at), min(CASE WHEN attempts > 0 THEN visible_at END) {ready}"))?
            .query_row([queue], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(match first.map(|first| (first + wait_ms).min(again.unwrap_or(i64::MAX))) {
            Some(at) if at <= now => Due::Now,
            Some(at) => Due::At(at),
            None => Due::Never,
        })
    }

    /// Hands out what is ready, in order, until a time.
    pub(in crate::edge) fn lease(
        &mut self,
        queue: &str,
        size: u32,
        lease: impl Fn() -> String,
        until: i64,
        now: i64,
    ) -> rusqlite::Result<Vec<Message>> {
        let transaction = self.0.transaction()?;
        let mut messages: Vec<Message> = transaction
            .prepare_cached(
                "SELECT seq, id, format, body, timestamp, attempts FROM message
                 WHERE queue = ?1 AND lease IS NULL AND visible_at <= ?2 ORDER BY visible_at, seq LIMIT ?3",
            )?
            .query_map(params![queue, now, size], message)?
            .collect::<rusqlite::Result<_>>()?;
        for message in &mut messages {
            message.lease = lease();
            transaction.prepare_cached("UPDATE message SET lease = ?2, leased_until = ?3 WHERE seq = ?1")?.execute(params![
                message.seq,
                message.lease,
                until
            ])?;
        }
        transaction.commit()?;
        Ok(messages)
    }

    /// A message was handled.
    pub(in crate::edge) fn acknowledge(&mut self, message: &Message) -> rusqlite::Result<()> {
        self.0
            .prepare_cached("DELETE FROM message WHERE seq = ?1 AND lease = ?2")?
            .execute(params![message.seq, message.lease])
            .map(|_| ())
    }

    /// A message was not handled: it is ready again at a time, or dead.
    pub(in crate::edge) fn fail(&mut self, message: &Message, at: i64, failed: &Failed) -> rusqlite::Result<()> {
        self.fail_row(message.seq, &message.lease, at, failed)
    }

    /// A message was not delivered at all, which counts as no attempt.
    pub(in crate::edge) fn give_back(&mut self, message: &Message) -> rusqlite::Result<()> {
        self.0
            .prepare_cached("UPDATE message SET lease = NULL, leased_until = NULL WHERE seq = ?1 AND lease = ?2")?
            .execute(params![message.seq, message.lease])
            .map(|_| ())
    }

    /// Settles a pulled message by its lease: `None` acknowledges it, a time makes it ready again then. Returns whether
    /// there was one.
    pub(in crate::edge) fn settle(&mut self, lease: &str, again: Option<i64>, failed: &Failed) -> rusqlite::Result<bool> {
        let find = "SELECT seq FROM message WHERE lease = ?1 AND lease NOT LIKE 'worker:%'";
        let Some(seq) = self.0.query_row(find, [lease], |row| row.get::<_, i64>(0)).optional()? else { return Ok(false) };
        match again {
            Some(at) => self.fail_row(seq, lease, at, failed)?,
            None => {
                self.0.execute("DELETE FROM message WHERE seq = ?1", [seq])?;
            }
        }
        Ok(true)
    }

    fn fail_row(&mut self, seq: i64, lease: &str, at: i64, failed: &Failed) -> rusqlite::Result<()> {
        let find = "SELECT attempts FROM message WHERE seq = ?1 AND lease = ?2";
        let attempts: Option<u32> = self.0.query_row(find, params![seq, lease], |row| row.get(0)).optional()?;
        match (attempts, &failed.dead_letters) {
            (None, _) => Ok(0),
            (Some(attempts), _) if attempts < failed.max_retries => self.0.execute(
                "UPDATE message SET lease = NULL, leased_until = NULL, attempts = attempts + 1, visible_at = ?2 WHERE seq = ?1",
                params![seq, at],
            ),
            (Some(_), Some(dead)) => self.0.execute(
                "UPDATE message SET queue = ?2, lease = NULL, leased_until = NULL, attempts = 0, visible_at = ?3 WHERE seq = ?1",
                params![seq, dead, at],
            ),
            (Some(_), None) => self.0.execute("DELETE FROM message WHERE seq = ?1", [seq]),
        }
        .map(|_| ())
    }

    /// What a queue holds, handed out or not.
    pub(in crate::edge) fn stats(&self, queue: &str) -> rusqlite::Result<Stats> {
        self.0
            .prepare_cached(
                "SELECT count(*), coalesce(sum(length(body)), 0), coalesce(min(timestamp), 0) FROM message WHERE queue = ?1",
            )?
            .query_row([queue], |row| Ok(Stats { count: row.get(0)?, bytes: row.get(1)?, oldest: row.get(2)? }))
    }

    /// Drops every message of a queue.
    pub(in crate::edge) fn purge(&mut self, queue: &str) -> rusqlite::Result<()> {
        self.0.execute("DELETE FROM message WHERE queue = ?1", [queue]).map(|_| ())
    }
}

fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        seq: row.get(0)?,
        id: row.get(1)?,
        format: row.get(2)?,
        body: row.get(3)?,
        timestamp: row.get(4)?,
        attempts: row.get(5)?,
        lease: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(number: usize) -> (tempfile::TempDir, Messages) {
        let folder = tempfile::tempdir().unwrap();
        let mut messages = Messages::open(&folder.path().join("q.sqlite")).unwrap();
        let new = New { format: "json".into(), body: b"1".to_vec(), delay: 0 };
        messages.insert("q", &vec![new; number], 1000).unwrap();
        (folder, messages)
    }

    fn failed(dead_letters: Option<&str>) -> Failed {
        Failed { max_retries: 1, dead_letters: dead_letters.map(str::to_owned) }
    }

    #[test]
    fn a_batch_is_due_when_it_is_full_or_has_waited_or_failed_before() {
        let (_folder, mut messages) = messages(2);
        assert_eq!(messages.due("q", 2, 500, 1000).unwrap(), Due::Now);
        assert_eq!(messages.due("q", 3, 500, 1000).unwrap(), Due::At(1500));
        assert_eq!(messages.due("q", 3, 500, 1500).unwrap(), Due::Now);
        assert_eq!(messages.due("none", 3, 500, 1500).unwrap(), Due::Never);
        let leased = messages.lease("q", 2, || "worker:1".into(), 9000, 1000).unwrap();
        assert_eq!(messages.due("q", 3, 500, 1500).unwrap(), Due::Never);
        messages.fail(&leased[0], 1200, &failed(None)).unwrap();
        assert_eq!(messages.due("q", 3, 500, 1200).unwrap(), Due::Now);
    }

    #[test]
    fn a_message_out_of_attempts_goes_to_the_dead_letters_or_is_dropped() {
        for dead in [Some("dead"), None] {
            let (_folder, mut messages) = messages(1);
            for _ in 0..2 {
                let leased = messages.lease("q", 1, || "worker:1".into(), 9000, 1000).unwrap();
                messages.fail(&leased[0], 1000, &failed(dead)).unwrap();
            }
            assert_eq!(messages.stats("q").unwrap().count, 0);
            assert_eq!(messages.stats("dead").unwrap().count, u64::from(dead.is_some()));
        }
    }

    #[test]
    fn a_lease_that_is_over_settles_nothing_and_an_edge_that_ended_counts_as_an_attempt() {
        let (folder, mut messages) = messages(1);
        let late = messages.lease("q", 1, || "worker:1".into(), 2000, 1000).unwrap();
        messages.sweep("q", 1_000_000, &failed(None), 2000).unwrap();
        messages.acknowledge(&late[0]).unwrap();
        assert_eq!(messages.stats("q").unwrap().count, 1);
        messages.lease("q", 1, || "worker:2".into(), 9000, 2000).unwrap();
        drop(messages);
        let mut messages = Messages::open(&folder.path().join("q.sqlite")).unwrap();
        assert_eq!(messages.lease("q", 1, || "pull".into(), 9000, 2000).unwrap()[0].attempts, 2);
        assert!(messages.settle("pull", None, &failed(None)).unwrap());
        assert!(!messages.settle("pull", None, &failed(None)).unwrap());
        assert_eq!(messages.stats("q").unwrap(), Stats::default());
    }
}
