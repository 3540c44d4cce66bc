//! From a planned change to an order: the values that became known take their places.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Failure, Run};
use crate::model::{InstanceKey, Marker, ObservedState, Retry};
use crate::plan::{Change, Inventory, resolve_pending};
use crate::provider::Order;

/// What targets call things, by instance.
pub(super) type Attributes = BTreeMap<InstanceKey, BTreeMap<String, String>>;

/// The attributes that are known before the first change.
pub(super) fn attributes(inventory: &Inventory, observed: &ObservedState) -> Attributes {
    let owned = inventory.iter().map(|(key, owned)| (key.clone(), owned.attributes.clone()));
    let seen = observed.iter().filter_map(|(key, o)| Some((key.clone(), o.present()?.attributes.clone())));
    owned.chain(seen).collect()
}

/// The order for a change whose dependencies were carried out.
pub(super) fn order(run: &Run<'_>, change: &Change, known: &Attributes) -> Result<Order, Failure> {
    let mut change = change.clone();
    if let Some(after) = &change.after {
        let lookup = |key: &InstanceKey| known.get(key).cloned();
        change.after = Some(resolve_pending(after, &lookup, &change.key.target).map_err(|pending| Failure {
            message: format!("{} needs the {} of {}, which is not known", change.key, pending.attribute, pending.address),
            hint: None,
            retry: Retry::Transient,
        })?);
    }
    let marker = Marker {
        key: change.key.clone(),
        revision: run.generation.revision.clone(),
        desired: change.desired,
        operation: Uuid::now_v7().to_string(),
    };
    Ok(Order {
        spec: change.after.as_ref().and_then(|_| run.desired.resources.get(&change.key)).map(|d| d.spec.clone()),
        marker,
        revision: run.generation.revision.clone(),
        contents: run.contents.clone(),
        earlier: run.earlier.get(&change.key).cloned().unwrap_or_default(),
        change,
    })
}
