//! Cloudflare Tunnels: names, ingress, tokens. Nothing connects, and a token opens nothing: it follows from the tunnel's id and
//! from how often its secret was changed.
//!
//! Codes: 1013 the name is taken, 1003 no such tunnel, 1056 an ingress whose last rule is no catch-all.

use axum::Extension;
use axum::extract::{Path, Query};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::super::api::answer::{Answer, Refusal, ok};
use super::super::record::{hex_of, now};
use super::records::Records;
use super::{Asked, Kept, missing, needed, object, pages, text};

const SET: &str = "tunnels";
const CONFIGURATIONS: &str = "tunnel configurations";
/// How often the secret of a tunnel was changed, where it was.
const ROTATIONS: &str = "tunnel rotations";
/// Bytes of a tunnel's secret, at least.
const SECRET: usize = 32;

fn no_tunnel(id: &str) -> Refusal {
    missing(1003, "tunnel", id)
}

fn free(records: &Records, name: &str, own: Option<&str>) -> Result<(), Refusal> {
    let taken = |tunnel: &Value| tunnel["name"] == name && tunnel["deleted_at"].is_null() && tunnel["id"].as_str() != own;
    match records.all(SET).iter().any(taken) {
        true => Err(Refusal::new(StatusCode::CONFLICT, 1013, format!("You already have a tunnel with this name: {name}"))),
        false => Ok(()),
    }
}

fn alive<'a>(records: &'a Records, id: &str) -> Result<&'a Value, Refusal> {
    records.find(SET, ("id", id)).filter(|tunnel| tunnel["deleted_at"].is_null()).ok_or_else(|| no_tunnel(id))
}

/// `GET cfd_tunnel`: those that were deleted too, unless `is_deleted=false`.
pub(super) async fn list(Extension(kept): Kept, Query(asked): Asked) -> Answer {
    let fits = |tunnel: &&Value| {
        let is = |field: &str, wanted: Option<&String>| wanted.is_none_or(|wanted| tunnel[field] == wanted.as_str());
        let deleted = asked.get("is_deleted").is_none_or(|wanted| (wanted == "true") != tunnel["deleted_at"].is_null());
        is("name", asked.get("name")) && is("id", asked.get("uuid")) && is("status", asked.get("status")) && deleted
    };
    pages(kept.listed().all(SET).iter().filter(fits).cloned().collect(), &asked, (100, 1000))
}

/// `POST cfd_tunnel`.
pub(super) async fn create(Extension(kept): Kept, Path(account): Path<String>, body: Bytes) -> Answer {
    let wanted = object(&body)?;
    let name = needed(&wanted, "name", 1002)?;
    let tunnel = json!({
        "id": uuid::Uuid::now_v7().to_string(),
        "account_tag": account,
        "name": name,
        "config_src": text(&wanted, "config_src").unwrap_or("local"),
        "remote_config": text(&wanted, "config_src") == Some("cloudflare"),
        "connections": [],
        "conns_active_at": null,
        "conns_inactive_at": null,
        "created_at": now(),
        "deleted_at": null,
        "metadata": wanted.get("metadata").cloned().unwrap_or_else(|| json!({})),
        "status": "inactive",
        "tun_type": "cfd_tunnel",
    });
    let edit = |records: &mut Records| {
        free(records, name, None)?;
        records.add(SET, tunnel.clone())?;
        Ok(tunnel)
    };
    ok(kept.change(edit).await?)
}

/// `GET cfd_tunnel/{t}`.
pub(super) async fn show(Extension(kept): Kept, Path((_, id)): Path<(String, String)>) -> Answer {
    ok(kept.now().find(SET, ("id", &id)).cloned().ok_or_else(|| no_tunnel(&id))?)
}

fn rotations(records: &Records, id: &str) -> u64 {
    records.find(ROTATIONS, ("tunnel_id", id)).and_then(|rotated| rotated["count"].as_u64()).unwrap_or(0)
}

/// `PATCH cfd_tunnel/{t}`: another name, another secret; the secret itself is dropped.
pub(super) async fn edit(Extension(kept): Kept, Path((_, id)): Path<(String, String)>, body: Bytes) -> Answer {
    let wanted = object(&body)?;
    let edit = |records: &mut Records| {
        let mut tunnel = alive(records, &id)?.clone();
        if let Some(name) = text(&wanted, "name") {
            free(records, name, Some(&id))?;
            tunnel["name"] = json!(name);
        }
        if let Some(secret) = text(&wanted, "tunnel_secret") {
            if STANDARD.decode(secret).map_or(0, |bytes| bytes.len()) < SECRET {
                return Err(Refusal::bad(1002, format!("`tunnel_secret` is at least {SECRET} bytes in base64")));
            }
            let count = rotations(records, &id) + 1;
            records.remove(ROTATIONS, ("tunnel_id", &id));
            records.add(ROTATIONS, json!({ "tunnel_id": id, "count": count }))?;
        }
        records.replace(SET, "id", tunnel.clone());
        Ok(tunnel)
    };
    ok(kept.change(edit).await?)
}

/// `DELETE cfd_tunnel/{t}`: its record stays, as a deleted one.
pub(super) async fn delete(Extension(kept): Kept, Path((_, id)): Path<(String, String)>) -> Answer {
    let edit = |records: &mut Records| {
        let mut tunnel = alive(records, &id)?.clone();
        tunnel["deleted_at"] = json!(now());
        records.replace(SET, "id", tunnel.clone());
        records.remove(CONFIGURATIONS, ("tunnel_id", &id));
        Ok(tunnel)
    };
    ok(kept.change(edit).await?)
}

/// `GET cfd_tunnel/{t}/token`.
pub(super) async fn token(Extension(kept): Kept, Path((account, id)): Path<(String, String)>) -> Answer {
    let records = kept.now();
    alive(&records, &id)?;
    let secret = STANDARD.encode(hex_of(&format!("stand-in tunnel {id} {}", rotations(&records, &id))));
    ok(STANDARD.encode(json!({ "a": account, "t": id, "s": secret }).to_string()))
}

/// `GET cfd_tunnel/{t}/configurations`.
pub(super) async fn configuration(Extension(kept): Kept, Path((account, id)): Path<(String, String)>) -> Answer {
    let records = kept.now();
    let tunnel = alive(&records, &id)?;
    let none = json!({ "account_id": account, "tunnel_id": id, "config": null, "version": 0, "source": "cloudflare", "created_at": tunnel["created_at"] });
    ok(records.find(CONFIGURATIONS, ("tunnel_id", &id)).cloned().unwrap_or(none))
}

/// `PUT cfd_tunnel/{t}/configurations`: the whole ingress.
pub(super) async fn configure(Extension(kept): Kept, Path((account, id)): Path<(String, String)>, body: Bytes) -> Answer {
    let wanted = object(&body)?;
    let config = wanted.get("config").cloned().unwrap_or_else(|| json!({}));
    let last = config["ingress"].as_array().and_then(|rules| rules.last());
    if last.is_some_and(|rule| {
        rule.get("hostname").is_some_and(|host| host != "") || rule.get("path").is_some_and(|path| path != "")
    }) {
        return Err(Refusal::bad(1056, "Bad Configuration: The last ingress rule must match all URLs"));
    }
    let edit = |records: &mut Records| {
        alive(records, &id)?;
        let before = records.remove(CONFIGURATIONS, ("tunnel_id", &id));
        let version = before.and_then(|before| before["version"].as_u64()).unwrap_or(0) + 1;
        let made = json!({ "account_id": account, "tunnel_id": id, "config": config, "version": version, "source": "cloudflare", "created_at": now() });
        records.add(CONFIGURATIONS, made.clone())?;
        Ok(made)
    };
    ok(kept.change(edit).await?)
}

/// `GET cfd_tunnel/{t}/connections`: there are none.
pub(super) async fn connections(Extension(kept): Kept, Path((_, id)): Path<(String, String)>) -> Answer {
    alive(&kept.now(), &id)?;
    ok(json!([]))
}

/// `DELETE cfd_tunnel/{t}/connections`.
pub(super) async fn disconnect(Extension(kept): Kept, Path((_, id)): Path<(String, String)>) -> Answer {
    alive(&kept.now(), &id)?;
    ok(json!(null))
}
