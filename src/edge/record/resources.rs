//! What an account keeps beside Workers: domains, databases, queues, buckets.
//!
//! **Invariant:** these are descriptions; what is in them is elsewhere, under their ids, and an id is never used again.

use serde::{Deserialize, Serialize};

use super::Account;

/// A host that leads to a Worker, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::edge) struct Domain {
    /// In small letters.
    pub(in crate::edge) hostname: String,
    pub(in crate::edge) service: String,
    pub(in crate::edge) zone_id: String,
    pub(in crate::edge) zone_name: String,
}

/// A D1 database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::edge) struct Database {
    pub(in crate::edge) name: String,
    pub(in crate::edge) created_at: String,
    /// Kept and shown; there is one place here.
    pub(in crate::edge) primary_location_hint: Option<String>,
    pub(in crate::edge) jurisdiction: Option<String>,
    /// `auto` or `disabled`. Kept and shown; there is one copy here.
    pub(in crate::edge) read_replication: String,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::edge) struct Queue {
    pub(in crate::edge) name: String,
    pub(in crate::edge) created_on: String,
    pub(in crate::edge) modified_on: String,
    /// Seconds.
    pub(in crate::edge) delivery_delay: u64,
    /// Seconds after which a message is dropped.
    pub(in crate::edge) retention: u64,
    pub(in crate::edge) delivery_paused: bool,
    /// One at most, as at Cloudflare.
    pub(in crate::edge) consumer: Option<Consumer>,
}

/// Who takes the messages of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::edge) struct Consumer {
    pub(in crate::edge) id: String,
    pub(in crate::edge) created_on: String,
    /// The Worker whose `queue()` is called; `None` where messages are pulled over the API.
    pub(in crate::edge) script: Option<String>,
    /// A queue's name.
    pub(in crate::edge) dead_letter_queue: Option<String>,
    pub(in crate::edge) batch_size: u32,
    pub(in crate::edge) max_wait_time_ms: u64,
    pub(in crate::edge) max_retries: u32,
    /// Seconds.
    pub(in crate::edge) retry_delay: u64,
    pub(in crate::edge) max_concurrency: Option<u32>,
    /// For how long a pulled message is out of sight.
    pub(in crate::edge) visibility_timeout_ms: u64,
}

/// An R2 bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::edge) struct Bucket {
    pub(in crate::edge) name: String,
    /// `default`, `eu` or `fedramp`: part of what a bucket is known by.
    pub(in crate::edge) jurisdiction: String,
    pub(in crate::edge) creation_date: String,
    pub(in crate::edge) location: Option<String>,
    pub(in crate::edge) storage_class: String,
}

impl Account {
    /// The queue with this name, and its id.
    pub(in crate::edge) fn queue_named(&self, name: &str) -> Option<(&String, &Queue)> {
        self.queues.iter().find(|(_, queue)| queue.name == name)
    }

    /// The id of a bucket. Without a jurisdiction it is that of the default one.
    pub(in crate::edge) fn bucket_id(&self, jurisdiction: Option<&str>, name: &str) -> Option<&String> {
        let jurisdiction = jurisdiction.unwrap_or("default");
        let mut found = self.buckets.iter().filter(|(_, bucket)| bucket.name == name && bucket.jurisdiction == jurisdiction);
        found.next().map(|(id, _)| id)
    }
}
