//! Purges of a zone's cache after a deployment.
//!
//! Goes in: what a Worker's definition names. Comes out: what could not be done, for people.
//!
//! **Invariant:** a purge is no part of the deployment that it follows: it can fail without it. It may be repeated, and is
//! where its outcome is not known.

use http::Method;
use serde_json::{Value as Json, json};

use crate::model::{Purge, PurgeMode};
use crate::provider::chain;

use super::CloudflareProvider;
use super::client::Payload;
use super::fault::Fault;
use super::path::path;
use super::zones::zone_id;

/// How often a call is made whose outcome is not known.
const ATTEMPTS: usize = 3;

/// Purges; what could not be done, in words.
pub(super) async fn purge(provider: &CloudflareProvider, purge: &Purge) -> Vec<String> {
    let zone = &purge.zone_name;
    let failed = |what: &str, fault: &Fault| {
        let hint = fault.error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("the cache of `{zone}` was not purged{what}: {}{hint}", chain(&fault.error))
    };
    let id = match zone_id(&provider.client, &provider.account, zone).await {
        Ok(id) => id,
        Err(fault) => return vec![failed("", &fault)],
    };
    let call = match purge.mode {
        PurgeMode::Invalidate => "invalidate_cache",
        PurgeMode::Purge => "purge_cache",
    };
    let path = path(&["zones", &id, call]);
    let mut warnings = Vec::new();
    for (sort, body) in bodies(purge) {
        let mut attempt = 1;
        loop {
            let written: Result<Json, Fault> = provider.client.write(Method::POST, &path, Payload::Json(body.clone()), &[]).await;
            match written {
                Ok(_) => break,
                Err(fault) if !fault.certain && attempt < ATTEMPTS => attempt += 1,
                Err(fault) => {
                    warnings.push(failed(&format!(" by {sort}"), &fault));
                    break;
                }
            }
        }
    }
    warnings
}

/// One call takes one sort of thing.
fn bodies(purge: &Purge) -> Vec<(&'static str, Json)> {
    if purge.everything {
        return vec![("everything", json!({ "purge_everything": true }))];
    }
    let sorts = [("hosts", &purge.hosts), ("prefixes", &purge.prefixes), ("tags", &purge.tags)];
    sorts.into_iter().filter(|(_, items)| !items.is_empty()).map(|(sort, items)| (sort, json!({ sort: items }))).collect()
}
