//! The directory of services in the edge's own network, which a `vpc_service` binding leads to.
//!
//! **Invariant:** what is listed here is reached only where the edge was started to allow private links.

use axum::extract::{Path, Query, State as Extracted};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::record::{Binding, Service, State, fresh_uuid, now};
use super::answer::{Answer, Paging, Refusal, ok, ok_with, page};
use super::{Ctx, Name, bound_by, nothing, parse};

fn none(id: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, 5102, format!("there is no service with the id {id}"))
}

fn shown(id: &str, service: &Service) -> Value {
    let mut shown = json!({
        "service_id": id,
        "type": service.kind,
        "name": service.name,
        "host": service.host,
        "created_at": service.created_at,
        "updated_at": service.updated_at,
    });
    for (field, port) in [("http_port", service.http_port), ("https_port", service.https_port), ("tcp_port", service.tcp_port)] {
        if let Some(port) = port {
            shown[field] = json!(port);
        }
    }
    if let Some(protocol) = &service.app_protocol {
        shown["app_protocol"] = json!(protocol);
    }
    if !service.tls_settings.is_null() {
        shown["tls_settings"] = service.tls_settings.clone();
    }
    shown
}

#[derive(Debug, Deserialize)]
struct Wanted {
    r#type: String,
    name: String,
    http_port: Option<u16>,
    https_port: Option<u16>,
    tcp_port: Option<u16>,
    app_protocol: Option<String>,
    host: Value,
    #[serde(default)]
    tls_settings: Value,
}

impl Wanted {
    fn service(self, before: Option<&Service>) -> Result<Service, Refusal> {
        let wrong = |message: String| Refusal::bad(5101, message);
        if self.name.is_empty() || self.name.len() > 255 {
            return Err(wrong("a service's name has 1 to 255 bytes".to_owned()));
        }
        match self.r#type.as_str() {
            "http" => {}
            "tcp" if self.tcp_port.is_some() => {}
            "tcp" => return Err(wrong("a service of type `tcp` has a `tcp_port`".to_owned())),
            other => return Err(wrong(format!("a service's type is `http` or `tcp`, not `{other}`"))),
        }
        if let Some(other) = self.app_protocol.as_deref().filter(|spoken| !matches!(*spoken, "postgresql" | "mysql")) {
            return Err(wrong(format!("a service speaks `postgresql` or `mysql`, not `{other}`")));
        }
        let ip = |field: &str| self.host[field].as_str();
        let good = match (ip("ipv4"), ip("ipv6"), ip("hostname")) {
            (Some(ip), None, None) => ip.parse::<std::net::Ipv4Addr>().is_ok(),
            (None, Some(ip), None) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
            (None, None, Some(name)) => is_host(name),
            _ => false,
        };
        if !good {
            return Err(wrong("a service's host is one `ipv4`, `ipv6` or `hostname`".to_owned()));
        }
        Ok(Service {
            name: self.name,
            // A service of type `http` that names no port is at 80.
            http_port: self.http_port.or((self.r#type == "http" && self.https_port.is_none()).then_some(80)),
            https_port: self.https_port,
            tcp_port: self.tcp_port,
            app_protocol: self.app_protocol,
            kind: self.r#type,
            host: self.host,
            tls_settings: self.tls_settings,
            created_at: before.map_or_else(now, |before| before.created_at.clone()),
            updated_at: now(),
        })
    }
}

/// Whether a text is a host's name, and cannot be taken for another sort of address.
pub(super) fn is_host(name: &str) -> bool {
    let label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    name.len() <= 253 && name.trim_end_matches('.').split('.').all(label)
}

fn free_name(state: &State, name: &str, own_id: Option<&str>) -> Result<(), Refusal> {
    let taken = state.account.services.iter().any(|(id, other)| other.name == name && Some(id.as_str()) != own_id);
    match taken {
        true => Err(Refusal::new(StatusCode::CONFLICT, 5101, format!("a service named {name} already exists"))),
        false => Ok(()),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Kind {
    r#type: Option<String>,
}

/// `GET services`.
pub(super) async fn list(
    Extracted(plane): Ctx,
    Path(_account): Path<String>,
    Query(paging): Query<Paging>,
    Query(kind): Query<Kind>,
) -> Answer {
    let state = plane.state();
    let fits = |service: &Service| kind.r#type.as_ref().is_none_or(|kind| *kind == service.kind);
    let found = state.account.services.iter().filter(|(_, service)| fits(service));
    let (found, info) = page(found.map(|(id, service)| shown(id, service)).collect(), &paging, 20, 1000);
    ok_with(json!(found), Some(info), StatusCode::OK)
}

/// `POST services`.
pub(super) async fn create(Extracted(plane): Ctx, Path(_account): Path<String>, body: Bytes) -> Answer {
    let service = parse::<Wanted>(&body)?.service(None)?;
    let edit = |state: &mut State| {
        free_name(state, &service.name, None)?;
        let id = fresh_uuid();
        let answer = shown(&id, &service);
        state.account_mut().services.insert(id, service);
        Ok::<_, Refusal>(answer)
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// `GET services/{id}`.
pub(super) async fn show(Extracted(plane): Ctx, Path((_, id)): Name) -> Answer {
    let state = plane.state();
    ok(shown(&id, state.account.services.get(&id).ok_or_else(|| none(&id))?))
}

/// `PUT services/{id}`.
pub(super) async fn update(Extracted(plane): Ctx, Path((_, id)): Name, body: Bytes) -> Answer {
    let wanted: Wanted = parse(&body)?;
    let edit = |state: &mut State| {
        let before = state.account.services.get(&id).ok_or_else(|| none(&id))?;
        let after = wanted.service(Some(before))?;
        free_name(state, &after.name, Some(&id))?;
        let answer = shown(&id, &after);
        state.account_mut().services.insert(id.clone(), after);
        Ok::<_, Refusal>(answer)
    };
    ok(Box::pin(plane.change(edit)).await?)
}

/// `DELETE services/{id}`.
pub(super) async fn delete(Extracted(plane): Ctx, Path((_, id)): Name) -> Answer {
    let edit = |state: &mut State| {
        let binds = |binding: &Binding| matches!(binding, Binding::VpcService { service_id } if *service_id == id);
        if let Some(user) = bound_by(state, binds) {
            return Err(Refusal::bad(5103, format!("the service is bound by the Worker `{user}`")));
        }
        state.account_mut().services.remove(&id).map(|_| ()).ok_or_else(|| none(&id))
    };
    Box::pin(plane.change(edit)).await?;
    ok(nothing())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_and_no_other_sort_of_address() {
        assert!(is_host("db.internal") && is_host("localhost"));
        for wrong in ["unix:/run/x.sock", "a b", "", "a..b", "host:80", "*"] {
            assert!(!is_host(wrong), "{wrong}");
        }
    }
}
