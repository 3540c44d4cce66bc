//! What the Worker processes run, in the runtime's own words.
//!
//! Goes in: the state and the seal. Comes out: a configuration in Cap'n Proto's text form and the sockets in it. The
//! form was tried on workerd 2026-11-17.
//!
//! **Invariant:** the same state gives the same text, so that an equal digest means an equal process. The text holds
//! secrets in clear; it is wiped when dropped and goes nowhere but into a process.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::json;
use zeroize::Zeroizing;

use super::super::EdgeError;
use super::super::record::{Binding, Module, State, Version};
use super::super::seal::Seal;
use crate::model::Digest;

/// The socket of the helper that calls `scheduled()`.
pub(in crate::edge) const CRON_SOCKET: &str = "cron.sock";

/// A configuration and where its Workers listen.
pub(in crate::edge) struct Config {
    /// Cap'n Proto's text form.
    pub(in crate::edge) text: Zeroizing<String>,
    /// Digest of the text.
    pub(in crate::edge) digest: Digest,
    /// By (Worker, version id): the socket's file name, in the process's folder.
    pub(in crate::edge) sockets: BTreeMap<(String, String), String>,
}

/// The helper that fires crons: it has a binding to each Worker and calls the handler that HTTP cannot reach.
const CRON_HELPER: &str = r#"export default {
  async fetch(request, env) {
    const { binding, cron, scheduledTime } = await request.json();
    return Response.json(await env[binding].scheduled({ cron, scheduledTime: new Date(scheduledTime) }));
  },
};
"#;

/// What stands for a Worker that was deleted although others bind it.
const ABSENT: &str = r#"export default {
  fetch() { throw new Error("the Worker that this binding names does not exist"); },
};
"#;

/// The configuration of every serving version; `None` where nothing serves.
pub(in crate::edge) fn render(state: &State, seal: &Seal, private_network: bool) -> Result<Option<Config>, EdgeError> {
    let mut services = String::new();
    let mut sockets = String::new();
    let mut helpers = String::new();
    let mut names = BTreeMap::new();
    let mut used = BTreeSet::new();
    let mut index = 0;
    let mut text = Zeroizing::new(String::new());
    for script in state.scripts.values() {
        for (version, _) in script.serving() {
            let service = service_name(&script.name, version);
            let socket = format!("w{index}.sock");
            let _ = writeln!(services, "    (name = {}, worker = .w{index}),", quote(&service));
            let _ = writeln!(
                sockets,
                "    (name = \"w{index}\", address = \"unix:{socket}\", http = (forwardedProtoHeader = \"X-Forwarded-Proto\"), service = {}),",
                quote(&service)
            );
            let _ = writeln!(helpers, "    (name = {}, service = {}),", quote(&service), quote(&service));
            write_worker(&mut text, index, version, state, seal)?;
            used.extend(version.bindings.values().filter_map(|binding| match binding {
                Binding::KvNamespace { namespace_id } => Some(namespace_id.clone()),
                _ => None,
            }));
            names.insert((script.name.clone(), version.id.clone()), socket);
            index += 1;
        }
    }
    if index == 0 {
        return Ok(None);
    }
    // What a Worker's `fetch` reaches. Public addresses only is the runtime's own default.
    let networks = if private_network { "\"public\", \"private\", \"local\"" } else { "\"public\"" };
    let _ =
        writeln!(services, "    (name = \"internet\", network = (allow = [{networks}], tlsOptions = (trustBrowserCas = true))),");
    // Only those in use: a new namespace is no reason to start anything.
    for id in used {
        let _ = writeln!(
            services,
            "    (name = {}, external = (address = \"unix:../kv.sock\", http = (injectRequestHeaders = [(name = \"{}\", value = {})]))),",
            quote(&kv_service(&id)),
            super::store::NAMESPACE_HEADER,
            quote(&id)
        );
    }
    let _ = writeln!(
        text,
        "const config :Workerd.Config = (\n  services = [\n{services}    (name = \"absent\", worker = .absent),\n    (name = \"cron\", worker = .cron),\n  ],\n  sockets = [\n{sockets}    (name = \"cron\", address = \"unix:{CRON_SOCKET}\", http = (), service = \"cron\"),\n  ],\n);"
    );
    let _ = writeln!(
        text,
        "const absent :Workerd.Worker = (modules = [(name = \"absent.js\", esModule = {})], compatibilityDate = \"2026-06-01\");",
        quote(ABSENT)
    );
    let _ = writeln!(
        text,
        "const cron :Workerd.Worker = (\n  modules = [(name = \"cron.js\", esModule = {})],\n  compatibilityDate = \"2026-06-01\",\n  compatibilityFlags = [\"service_binding_extra_handlers\"],\n  bindings = [\n{helpers}  ],\n);",
        quote(CRON_HELPER)
    );
    text.insert_str(0, "using Workerd = import \"/workerd/workerd.capnp\";\n");
    let digest = Digest::of(text.as_bytes());
    Ok(Some(Config { text, digest, sockets: names }))
}

/// What a serving version is called in the configuration, in messages and in the cron helper.
pub(in crate::edge) fn service_name(script: &str, version: &Version) -> String {
    format!("{script}@{}", version.id)
}

fn kv_service(id: &str) -> String {
    format!("kv:{id}")
}

fn write_worker(text: &mut String, index: usize, version: &Version, state: &State, seal: &Seal) -> Result<(), EdgeError> {
    let _ = writeln!(text, "const w{index} :Workerd.Worker = (\n  modules = [");
    // The main module is the first in the list, whatever its name.
    let (main, others): (Vec<_>, Vec<_>) = version.modules.iter().partition(|module| module.name == version.main_module);
    for module in main.into_iter().chain(others) {
        if let Some(field) = module_field(module) {
            let _ = writeln!(text, "    (name = {}, {field} = embed \"/blobs/{}\"),", quote(&module.name), module.sha256);
        }
    }
    let _ = writeln!(text, "  ],\n  compatibilityDate = {},", quote(&version.compatibility_date));
    let flags: Vec<String> = version.compatibility_flags.iter().map(|flag| quote(flag)).collect();
    let _ = writeln!(text, "  compatibilityFlags = [{}],\n  bindings = [", flags.join(", "));
    for (name, binding) in &version.bindings {
        let value = binding_value(binding, version, state, seal)?;
        let _ = writeln!(text, "    (name = {}, {}),", quote(name), value.as_str());
    }
    text.push_str("  ],\n);\n");
    Ok(())
}

/// The configuration's field for a module's type; `None` for what is stored but not run.
fn module_field(module: &Module) -> Option<&'static str> {
    module_kind(&module.content_type).filter(|field| !field.is_empty())
}

/// The field for a content type: `Some("")` is a type that is kept and not run, `None` one that is not supported.
pub(in crate::edge) fn module_kind(content_type: &str) -> Option<&'static str> {
    match content_type {
        "application/javascript+module" | "text/javascript+module" => Some("esModule"),
        "application/javascript" | "text/javascript" => Some("commonJsModule"),
        "application/wasm" => Some("wasm"),
        "application/json" => Some("json"),
        "text/plain" | "text/html" | "text/css" => Some("text"),
        "application/octet-stream" => Some("data"),
        "application/source-map" => Some(""),
        _ => None,
    }
}

fn binding_value(binding: &Binding, version: &Version, state: &State, seal: &Seal) -> Result<Zeroizing<String>, EdgeError> {
    let value = match binding {
        Binding::PlainText { text } => format!("text = {}", quote(text)),
        Binding::Json { json } => format!("json = {}", quote(&json.to_string())),
        Binding::SecretText { sealed, .. } => {
            let secret = seal.open_sealed(sealed)?;
            let quoted = Zeroizing::new(quote(secret.expose_text().ok_or(EdgeError::Unseal)?));
            return Ok(Zeroizing::new(format!("text = {}", quoted.as_str())));
        }
        Binding::KvNamespace { namespace_id } if state.account.namespaces.contains_key(namespace_id) => {
            format!("kvNamespace = {}", quote(&kv_service(namespace_id)))
        }
        Binding::KvNamespace { .. } => "kvNamespace = \"absent\"".to_owned(),
        Binding::Service { service, entrypoint, props, .. } => {
            let target = state.scripts.get(service).and_then(|script| script.principal().map(|v| service_name(service, v)));
            match target {
                Some(target) => {
                    let entrypoint = entrypoint.as_ref().map(|e| format!(", entrypoint = {}", quote(e))).unwrap_or_default();
                    let props =
                        props.as_ref().map(|p| format!(", props = (json = {})", quote(&p.to_string()))).unwrap_or_default();
                    format!("service = (name = {}{entrypoint}{props})", quote(&target))
                }
                None => "service = \"absent\"".to_owned(),
            }
        }
        Binding::VersionMetadata => {
            let tag = version.annotations.get("workers/tag").cloned().unwrap_or_default();
            let value = json!({ "id": version.id, "tag": tag, "timestamp": version.created_on });
            format!("json = {}", quote(&value.to_string()))
        }
    };
    Ok(Zeroizing::new(value))
}

/// A text in Cap'n Proto's quotes.
pub(in crate::edge) fn quote(text: &str) -> String {
    // Long enough from the start, so that no part of a secret is left behind by a move.
    let mut quoted = String::with_capacity(text.len() * 4 + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_ascii_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_leaves_no_way_out_of_the_quotes() {
        assert_eq!(quote("a\"b\\c\nd\0é"), r#""a\"b\\c\nd\x00é""#);
    }

    #[test]
    fn the_types_of_modules_are_those_of_the_wire() {
        assert_eq!(module_kind("application/javascript+module"), Some("esModule"));
        assert_eq!(module_kind("application/source-map"), Some(""));
        assert_eq!(module_kind("text/x-python"), None);
    }
}
