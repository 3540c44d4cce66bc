//! What we own, because we applied it: only that can be pruned.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::{Digest, InstanceKey, Properties, Revision};

/// One instance that we own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    /// What it is called at the target.
    pub claim: String,
    /// What was last applied, with every value known.
    pub properties: Properties,
    /// What the target calls it (see [`crate::model::Present::attributes`]).
    pub attributes: BTreeMap<String, String>,
    /// Its fingerprint after the last apply or deep read.
    pub fingerprint: String,
    /// Digest of the desired properties that were applied.
    pub desired: Digest,
    /// The revision that was applied.
    pub revision: Revision,
    /// The operation that applied it.
    pub operation: String,
    /// What must stay there for as long as this does.
    pub depends_on: BTreeSet<InstanceKey>,
}

/// What one environment owns.
pub type Inventory = BTreeMap<InstanceKey, Owned>;
