//! From a planned change to an order: the values that became known take their places.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Failure, Run};
use crate::model::{InstanceKey, Marker, ObservedState, Retry, SecretMark, Spec, TOKEN};
use crate::plan::{Change, Inventory, resolve_pending};
use crate::provider::{Order, Tokens, chain};

/// What targets call things, by instance.
pub(super) type Attributes = BTreeMap<InstanceKey, BTreeMap<String, String>>;

/// The attributes that are known before the first change.
pub(super) fn attributes(inventory: &Inventory, observed: &ObservedState) -> Attributes {
    let owned = inventory.iter().map(|(key, owned)| (key.clone(), owned.attributes.clone()));
    let seen = observed.iter().filter_map(|(key, o)| Some((key.clone(), o.present()?.attributes.clone())));
    owned.chain(seen).collect()
}

/// The order for a change whose dependencies were carried out, with the tokens that it needs.
pub(super) async fn order(run: &Run<'_>, change: &Change, known: &Attributes) -> Result<Order, Failure> {
    let mut change = change.clone();
    let spec = change.after.as_ref().and_then(|_| run.desired.resources.get(&change.key)).map(|d| d.spec.clone());
    let tokens = tokens(run, &change, spec.as_ref(), known).await?;
    if let Some(after) = &change.after {
        let lookup = |key: &InstanceKey| {
            let mark = marked(spec.as_ref(), &tokens, key).map(|mark| (TOKEN.to_owned(), mark.as_attribute()));
            Some(known.get(key)?.clone().into_iter().chain(mark).collect())
        };
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
        spec,
        tokens,
        marker,
        revision: run.generation.revision.clone(),
        contents: run.contents.clone(),
        earlier: run.earlier.get(&change.key).cloned().unwrap_or_default(),
        change,
    })
}

/// The tokens of the tunnels that are used on a host, as they are now.
async fn tokens(run: &Run<'_>, change: &Change, spec: Option<&Spec>, known: &Attributes) -> Result<Tokens, Failure> {
    let mut tokens = Tokens::default();
    for (tunnel, instance) in &spec.map(Spec::tokens).unwrap_or_default() {
        let failure = |message: String, hint, retry| Failure { message, hint, retry };
        let missing = |what: &str| format!("{} needs the token of {instance}, and {what}", change.key);
        let id = known.get(instance).and_then(|attributes| attributes.get("id"));
        let id = id.ok_or_else(|| failure(missing("the tunnel is not there"), None, Retry::Transient))?;
        let provider = run.providers.get(&instance.target);
        let provider = provider.ok_or_else(|| failure(missing("its target is not defined"), None, Retry::Stalled))?;
        let token = provider.token(tunnel, id).await.map_err(|error| {
            failure(missing(&format!("it cannot be read: {}", chain(&error))), error.hint.clone(), error.retry)
        })?;
        tokens.insert(tunnel.clone(), token);
    }
    Ok(tokens)
}

/// What stands for the token of a tunnel, where it was read.
fn marked<'a>(spec: Option<&Spec>, tokens: &'a Tokens, tunnel: &InstanceKey) -> Option<&'a SecretMark> {
    let (name, _) = spec?.tokens().into_iter().find(|(_, instance)| instance == tunnel)?;
    Some(&tokens.get(&name)?.mark)
}
