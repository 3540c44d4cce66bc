//! What a client uploads: modules and metadata, turned into a version.
//!
//! Goes in: `multipart/form-data` with a part `metadata` and one part for each module. Comes out: a [`Version`], its secrets
//! sealed and its modules stored. The main module is looked for by file name, then by part name: wrangler and the SDKs
//! differ in that.
//!
//! **Invariant:** what the edge cannot run is refused, never dropped in silence.

use std::collections::BTreeMap;

use axum::extract::{FromRequest as _, Multipart, Request};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::super::plane::Plane;
use super::super::record::{Assets, Module, Script, State, Version, fresh_uuid, now};
use super::super::runtime::config::module_kind;
use super::answer::Refusal;
use super::{assets, bindings};
use crate::model::Digest;

/// Metadata that one upload may carry, in bytes.
const METADATA_LIMIT: usize = 1024 * 1024;
/// Modules in one upload.
const MODULE_LIMIT: usize = 1000;

/// The metadata of an upload. What the edge does not have is kept as it came, to be refused by name.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metadata {
    pub(super) main_module: Option<String>,
    pub(super) body_part: Option<String>,
    pub(super) bindings: Option<Vec<Value>>,
    pub(super) keep_bindings: Option<Vec<String>>,
    pub(super) compatibility_date: Option<String>,
    pub(super) compatibility_flags: Option<Vec<String>>,
    pub(super) annotations: Option<BTreeMap<String, Value>>,
    pub(super) tags: Option<Vec<String>>,
    pub(super) logpush: Option<bool>,
    pub(super) observability: Option<Value>,
    pub(super) tail_consumers: Option<Value>,
    pub(super) limits: Value,
    pub(super) placement: Value,
    pub(super) usage_model: Option<String>,
    pub(super) migrations: Value,
    pub(super) exports: Value,
    pub(super) assets: Value,
    pub(super) keep_assets: Option<bool>,
    pub(super) containers: Value,
}

/// An upload that was read and whose modules are stored.
pub(super) struct Upload {
    pub(super) metadata: Metadata,
    pub(super) main_module: String,
    pub(super) modules: Vec<Module>,
    pub(super) assets: Option<Assets>,
}

/// One part of a form.
struct Part {
    name: String,
    content_type: Option<String>,
    bytes: Bytes,
}

/// The parts of a form, bounded by the body limit of the route.
async fn parts(request: Request) -> Result<Vec<Part>, Refusal> {
    let malformed = |error: String| Refusal::bad(10026, format!("the form cannot be read: {error}"));
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| malformed(error.body_text()))?;
    let mut parts = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|error| too_large(&error, malformed))? {
        // A browser's form gives every part a file name, `blob` where it has none.
        let is_ours = |name: &&str| matches!(*name, "metadata" | "settings");
        let name = field.name().filter(is_ours).or(field.file_name()).or(field.name()).unwrap_or_default().to_owned();
        let content_type =
            field.content_type().map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        let bytes = field.bytes().await.map_err(|error| too_large(&error, malformed))?;
        if parts.len() > MODULE_LIMIT {
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, 10027, format!("more than {MODULE_LIMIT} modules")));
        }
        parts.push(Part { name, content_type, bytes });
    }
    Ok(parts)
}

fn too_large(error: &axum::extract::multipart::MultipartError, otherwise: impl Fn(String) -> Refusal) -> Refusal {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, 10027, "the upload is larger than 64 MiB");
    }
    otherwise(error.body_text())
}

/// The JSON in the part of this name; the edge's `settings` call takes no modules.
pub(super) async fn read_settings(request: Request) -> Result<Metadata, Refusal> {
    let parts = parts(request).await?;
    let settings = parts
        .iter()
        .find(|part| part.name == "settings")
        .ok_or_else(|| Refusal::bad(10026, "the form has no part `settings`"))?;
    super::parse(&settings.bytes)
}

/// Reads an upload, stores its modules and puts its assets together. `before` is the version whose assets it may keep.
pub(super) async fn read(plane: &Plane, request: Request, before: Option<&Version>) -> Result<Upload, Refusal> {
    let mut parts = parts(request).await?;
    let at = parts.iter().position(|part| part.name == "metadata");
    let part = parts.remove(at.ok_or_else(|| Refusal::bad(10021, "the upload has no part `metadata`"))?);
    if part.bytes.len() > METADATA_LIMIT {
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, 10027, "the metadata is larger than 1 MiB"));
    }
    let metadata: Metadata = super::parse(&part.bytes)?;
    refuse_unsupported(&metadata)?;
    let assets = assets::of_upload(plane, &metadata, before).await?;
    let main_module = match (&metadata.main_module, &assets) {
        (Some(main_module), _) => main_module.clone(),
        // Assets alone need no code.
        (None, Some(_)) if parts.is_empty() => String::new(),
        (None, _) => {
            return Err(Refusal::invalid_script("this edge runs ES modules only: the metadata names no `main_module`"));
        }
    };
    if !main_module.is_empty() && !parts.iter().any(|part| part.name == main_module) {
        return Err(Refusal::invalid_script(format!("the main module `{main_module}` is not among the uploaded parts")));
    }
    let mut modules = Vec::new();
    for part in parts {
        let content_type = part.content_type.unwrap_or_else(|| "application/javascript+module".to_owned());
        if module_kind(&content_type).is_none() {
            return Err(Refusal::invalid_script(format!("this edge runs no modules of type {content_type}: `{}`", part.name)));
        }
        if modules.iter().any(|module: &Module| module.name == part.name) {
            return Err(Refusal::invalid_script(format!("the module `{}` is there twice", part.name)));
        }
        let size = part.bytes.len() as u64;
        let sha256 = plane.put_blob(part.bytes).await?;
        modules.push(Module { name: part.name, content_type, sha256, size });
    }
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Upload { metadata, main_module, modules, assets })
}

fn refuse_unsupported(metadata: &Metadata) -> Result<(), Refusal> {
    let present = |value: &Value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    };
    let has_not =
        [(metadata.body_part.is_some(), "service-worker syntax; use ES modules"), (present(&metadata.containers), "containers")];
    match has_not.into_iter().find(|(used, _)| *used) {
        Some((_, what)) => Err(Refusal::invalid_script(format!("this edge does not have {what}"))),
        None => Ok(()),
    }
}

/// Where a new version comes from and what it is judged against.
pub(super) struct Basis<'a> {
    pub(super) plane: &'a Plane,
    pub(super) state: &'a State,
    /// The Worker as it is, if it is.
    pub(super) script: Option<&'a Script>,
    /// Its name, to which it may bind itself.
    pub(super) name: &'a str,
    /// Whether a binding with nothing to inherit from is refused.
    pub(super) strict: bool,
    /// Whether the upload declares the classes of its Durable Objects.
    pub(super) declared: bool,
}

/// The version that an upload makes of a Worker.
pub(super) fn version(basis: &Basis<'_>, upload: &Upload, source: &str, triggered_by: &str) -> Result<Version, Refusal> {
    let metadata = &upload.metadata;
    let listed = metadata.bindings.as_deref().unwrap_or_default();
    Ok(Version {
        id: fresh_uuid(),
        number: next_number(basis.script),
        created_on: now(),
        source: source.to_owned(),
        annotations: annotations(metadata.annotations.as_ref(), triggered_by)?,
        etag: etag(&upload.main_module, &upload.modules),
        main_module: upload.main_module.clone(),
        modules: upload.modules.clone(),
        bindings: bindings::read(basis, listed, metadata.keep_bindings.as_deref())?,
        // What Cloudflare takes where an upload names none.
        compatibility_date: metadata.compatibility_date.clone().unwrap_or_else(|| "2021-11-02".to_owned()),
        compatibility_flags: metadata.compatibility_flags.clone().unwrap_or_default(),
        limits: metadata.limits.clone(),
        placement: metadata.placement.clone(),
        usage_model: metadata.usage_model.clone().unwrap_or_else(|| "standard".to_owned()),
        startup_time_ms: 0,
        exports: metadata.exports.clone(),
        assets: upload.assets.clone(),
    })
}

/// The number of a Worker's next version.
pub(super) fn next_number(script: Option<&Script>) -> u64 {
    script.and_then(Script::latest).map_or(1, |latest| latest.number + 1)
}

/// The annotations that a client gave, with what triggered the change. Limits as at Cloudflare: a tag of 100 bytes, a
/// message of 1,000 bytes, which is cut.
pub(super) fn annotations(
    given: Option<&BTreeMap<String, Value>>,
    triggered_by: &str,
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut kept = BTreeMap::from([("workers/triggered_by".to_owned(), triggered_by.to_owned())]);
    for (name, value) in given.into_iter().flatten() {
        let Some(value) = value.as_str() else { continue };
        match name.as_str() {
            "workers/tag" if value.len() > 100 => {
                return Err(Refusal::bad(10021, "the annotation workers/tag is longer than 100 bytes"));
            }
            "workers/tag" | "workers/message" | "workers/alias" => {
                let cut = (0..=value.len().min(1000)).rev().find(|at| value.is_char_boundary(*at)).unwrap_or(0);
                kept.insert(name.clone(), value[..cut].to_owned());
            }
            _ => {}
        }
    }
    Ok(kept)
}

/// Digest of names, types and content.
fn etag(main_module: &str, modules: &[Module]) -> String {
    let lines = modules.iter().map(|module| format!("{}\0{}\0{}\n", module.name, module.content_type, module.sha256));
    let text: String = std::iter::once(format!("{main_module}\n")).chain(lines).collect();
    Digest::of(text.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_between_characters_and_a_long_tag_refused() {
        let given = |name: &str, text: String| BTreeMap::from([(name.to_owned(), Value::String(text))]);
        let cut = annotations(Some(&given("workers/message", "é".repeat(600))), "upload").unwrap();
        assert_eq!(cut["workers/message"], "é".repeat(500));
        assert!(annotations(Some(&given("workers/tag", "x".repeat(101))), "upload").is_err());
    }

    #[test]
    fn what_the_edge_has_not_is_refused_by_name() {
        let containers = Metadata { containers: serde_json::json!([{ "class_name": "A" }]), ..Metadata::default() };
        assert!(refuse_unsupported(&containers).is_err());
        let nothing = Metadata { containers: Value::Null, exports: serde_json::json!({}), ..Metadata::default() };
        assert!(refuse_unsupported(&nothing).is_ok());
    }

    #[tokio::test]
    async fn parts_are_told_by_their_files_and_the_metadata_by_its_name() {
        let part = |head: &str| format!("--B\r\nContent-Disposition: form-data; {head}\r\n\r\n{{}}\r\n");
        // As browsers and alchemy, wrangler, and the SDK for Python write them.
        let heads = ["name=\"metadata\"; filename=\"blob\"", "name=\"metadata\"", "name=\"files\"; filename=\"index.js\""];
        let body = heads.map(part).concat() + "--B--\r\n";
        let request = Request::builder().header("content-type", "multipart/form-data; boundary=B");
        let parts = parts(request.body(body.into()).unwrap()).await.unwrap_or_else(|_| panic!("a form"));
        assert_eq!(parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>(), ["metadata", "metadata", "index.js"]);
    }
}
