//! Compare the intents of things with what is there.
//!
//! What the executor did before it was killed is seen by what is there, and by whether it runs anew. What cannot be told to be
//! as it was to be is cut short, and shows that.

use super::{Eyes, Seen, Sought, differing, look};
use crate::agent::Policy;
use crate::agent::accounts::Accounts;
use crate::agent::beneath::Root;
use crate::agent::manifest::{Manifest, Thing};
use crate::model::{Properties, RESTART_ON};

/// Settles every intent of `manifest` to change a thing. What cannot be looked at stays an intent.
pub(in crate::agent) fn settle(policy: &Policy, root: &Root, manifest: &mut Manifest) {
    for (key, begun) in manifest.begun.clone() {
        let none = Properties::new();
        let fields = begun.wanted.as_ref().map_or(&none, |wanted| &wanted.fields);
        let eyes = Eyes { policy, root, accounts: Accounts::read(root), manifest };
        let sought = [Sought::new(&key, &begun.claim, fields, None)];
        let Some(Ok(seen)) = look(&eyes, key.address.kind, &sought).pop() else { continue };
        manifest.begun.remove(&key);
        let last = manifest.things.get(begun.from.as_ref().unwrap_or(&key)).cloned();
        let as_wanted = |wanted: &Thing, seen: &Seen| {
            let mut fields = seen.fields.clone();
            wanted.fields.get(RESTART_ON).map(|inputs| fields.insert(RESTART_ON.to_owned(), inputs.clone()));
            let started = last.as_ref().is_none_or(|last| last.fields == wanted.fields && last.stale.is_empty());
            differing(&fields, &wanted.fields).is_none() && (started || seen.run != begun.run)
        };
        match (begun.wanted, seen) {
            // Gone, or never made.
            (_, None) => drop(manifest.things.remove(&key)),
            (Some(wanted), Some(seen)) => {
                let interrupted = !as_wanted(&wanted, &seen);
                let last = last.as_ref().filter(|_| interrupted).cloned();
                begun.from.iter().for_each(|from| drop(manifest.things.remove(from)));
                manifest.things.insert(key, Thing { interrupted, ..last.unwrap_or(wanted) });
            }
            (None, Some(_)) => {}
        }
    }
}
