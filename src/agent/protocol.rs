//! What travels to an executor and back: one request, one answer, for a whole environment on a host.
//!
//! **Invariant:** only [`Payload`] holds bytes of files; it cannot be printed, and what it serializes to is the frame of
//! a channel and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Fault;
use crate::model::{Address, Content, Digest, EnvironmentId, InstanceKey, Marker, Properties, Secret, SecretMark};
use crate::plan::Precondition;

/// The version of these types. An executor refuses any other.
pub const VERSION: u32 = 2;

/// One request.
#[derive(Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// Whose things are asked for or changed.
    pub environment: EnvironmentId,
    /// What is changed by others may be put right: drift is not only to be reported.
    pub heals: bool,
    /// What is to be done.
    pub task: Task,
}

/// What is to be done.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Say what is there.
    Observe {
        /// What to look at.
        queries: Vec<Query>,
    },
    /// Carry out orders, none before those that it comes after.
    Apply {
        /// Counts the holders of the environment's lease; an executor refuses one lower than it has seen.
        epoch: u64,
        /// The orders.
        orders: Vec<Order>,
    },
}

/// Something to look at.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Query {
    /// A file.
    File(FileQuery),
    /// Anything else.
    Thing(ThingQuery),
}

/// A thing to look at: a directory, a package, a unit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ThingQuery {
    /// The instance.
    pub key: InstanceKey,
    /// What it is called on the host.
    pub claim: String,
    /// The fields that are desired, without secrets: the answer speaks of these, and of those that were applied.
    pub fields: Properties,
}

/// One change.
#[derive(Serialize, Deserialize)]
pub struct Order {
    /// The positions of the orders of this request without which it is not begun.
    pub after: BTreeSet<usize>,
    /// What is to be done.
    pub what: Ordered,
}

/// What an order is about.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ordered {
    /// A file.
    File(FileOrder),
    /// Anything else.
    Thing(ThingOrder),
}

impl Ordered {
    /// The instance.
    pub fn key(&self) -> &InstanceKey {
        match self {
            Self::File(order) => &order.key,
            Self::Thing(order) => &order.key,
        }
    }
}

/// A change of a thing.
#[derive(Serialize, Deserialize)]
pub struct ThingOrder {
    /// The instance.
    pub key: InstanceKey,
    /// For a move: the instance's former key.
    pub from: Option<InstanceKey>,
    /// What it is called on the host.
    pub claim: String,
    /// What must be so.
    pub precondition: Precondition,
    /// What is written into the manifest; holds the operation id.
    pub marker: Marker,
    /// What it is to be like; `None` where it is to be deleted.
    pub wanted: Option<Box<Wanted>>,
}

/// What a thing is to be like.
#[derive(Clone, Serialize, Deserialize)]
pub struct Wanted {
    /// Its fields, with marks for the secrets.
    pub fields: Properties,
    /// The bytes that they refer to.
    pub contents: BTreeMap<Digest, Payload>,
    /// The values of the secrets, by the path of the field, its steps parted by `/`.
    pub values: BTreeMap<String, Payload>,
}

/// A file to look at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FileQuery {
    /// The instance.
    pub key: InstanceKey,
    /// Where it is or is to be.
    pub path: String,
    /// Secrets are, or are to be, in it: no digest of its content is answered.
    pub secret: bool,
    /// The owner as the definition names it: the answer uses the same word for the same user.
    pub owner: Option<String>,
    /// The group as the definition names it.
    pub group: Option<String>,
}

/// A change of a file.
#[derive(Serialize, Deserialize)]
pub struct FileOrder {
    /// The instance.
    pub key: InstanceKey,
    /// For a move: the instance's former key.
    pub from: Option<InstanceKey>,
    /// Where it is or is to be.
    pub path: String,
    /// What must be so.
    pub precondition: Precondition,
    /// What is written into the manifest; holds the operation id.
    pub marker: Marker,
    /// What is done.
    pub task: FileTask,
}

/// What is done with a file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileTask {
    /// It gets this content, mode and owner.
    Write(Box<FileWrite>),
    /// It is deleted.
    Delete,
}

/// What a file is to be like.
#[derive(Serialize, Deserialize)]
pub struct FileWrite {
    /// The bytes, with the values of secrets.
    pub bytes: Payload,
    /// What stands for the bytes in plans: with placeholders instead of the values.
    pub content: Content,
    /// What stands for each secret in it, by its name; for each token of a tunnel, by its label.
    pub secrets: BTreeMap<String, SecretMark>,
    /// Permission bits.
    pub mode: u32,
    /// User name or number; `None` leaves it as it is.
    pub owner: Option<String>,
    /// Group name or number; `None` leaves it as it is.
    pub group: Option<String>,
    /// A command and its arguments; `{}` is the path of the candidate.
    pub validate: Option<Vec<String>>,
}

/// The bytes of a file, which may hold secrets.
#[derive(Clone)]
pub struct Payload(Secret);

impl Payload {
    /// Takes the bytes over.
    pub fn new(bytes: Secret) -> Self {
        Self(bytes)
    }

    /// The bytes: for the file on the host, and for the frame.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&zeroize::Zeroizing::new(STANDARD.encode(self.expose())))
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = zeroize::Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = STANDARD.decode(text.as_bytes()).map_err(|_| serde::de::Error::custom("a payload is not base64"))?;
        Ok(Self(Secret::new(bytes)))
    }
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Task::Observe`]: one for each query, in their order.
    Observed(Vec<Sight>),
    /// To [`Task::Apply`]: one for each order, in their order.
    Applied(Vec<OrderResult>),
    /// The request as a whole was refused; nothing was changed.
    Refused(Fault),
}

/// What is there of one instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sight {
    /// The instance.
    pub key: InstanceKey,
    /// What is there.
    pub found: Found,
}

/// What there is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// Nothing.
    Absent,
    /// A regular file.
    File(Box<FoundFile>),
    /// Anything else.
    Thing(Box<FoundThing>),
    /// It cannot be said, or it is nothing that a file may replace; with the reason.
    Unknown(String),
}

/// A thing that is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FoundThing {
    /// What it is like, in the shape of the fields that were asked for.
    pub fields: Properties,
    /// Changes whenever what is there changes, but for whether it runs.
    pub fingerprint: String,
    /// Whose it is, by a manifest on this host.
    pub owned_by: Option<Address>,
    /// The operation that put the present state there, where it is as an operation of this environment left it.
    pub marker: Option<Marker>,
}

/// A file that is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FoundFile {
    /// What can be said of its content.
    pub content: FoundContent,
    /// Permission bits.
    pub mode: u32,
    /// Its owner: the word of the query where that is the one, else name or number.
    pub owner: String,
    /// Its group, likewise.
    pub group: String,
    /// Changes whenever content, mode or owner change.
    pub fingerprint: String,
    /// Whose it is, by a manifest on this host.
    pub owned_by: Option<Address>,
    /// The operation that put the present state there, where it is as an operation of this environment left it.
    pub marker: Option<Marker>,
}

/// What can be said of a file's content.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FoundContent {
    /// It is as it was applied: what stood for the content and for the secrets in it.
    Applied {
        /// With placeholders instead of values.
        content: Content,
        /// What stands for each value.
        secrets: BTreeMap<String, SecretMark>,
    },
    /// It is something else, and no secret is in play: the digest of what is there.
    Other(Content),
    /// It is something else, and secrets may be in it: nothing is said of it but whose names were in it.
    Withheld {
        /// The secrets that were in it when it was applied.
        secrets: Vec<String>,
    },
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderResult {
    /// It was carried out and read back.
    Done {
        /// The fingerprint now; empty for a delete.
        fingerprint: String,
        /// What people should know of it.
        warnings: Vec<String>,
    },
    /// It was certainly not carried out.
    Refused(Fault),
    /// What is there is not what the plan saw; nothing was changed.
    Conflict(String),
    /// It may have been carried out.
    Unknown(Fault),
    /// It was not begun, since the order at this position was not carried out.
    NotBegun(usize),
}
