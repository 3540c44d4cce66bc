//! What the Worker processes run, in the runtime's own words.
//!
//! Goes in: the state and the seal. Comes out: a configuration in Cap'n Proto's text form and the sockets in it. The
//! form was tried on workerd 2026-11-17.
//!
//! **Invariant:** the same state gives the same text, so that an equal digest means an equal process. The text holds
//! secrets in clear; it is wiped when dropped and goes nowhere but into a process.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::super::EdgeError;
use super::super::record::{Module, Script, State, Version};
use super::super::seal::Seal;
use super::track::{Track, exclusive};
use crate::model::Digest;

mod assets;
mod bindings;
mod links;
mod programs;

use bindings::Bindings;

/// The socket of the helper that calls the handlers which HTTP cannot reach.
pub(in crate::edge) const EVENTS_SOCKET: &str = "events.sock";

/// A configuration and where its Workers listen.
pub(in crate::edge) struct Config {
    /// Cap'n Proto's text form.
    pub(in crate::edge) text: Zeroizing<String>,
    /// Digest of the text.
    pub(in crate::edge) digest: Digest,
    /// By (Worker, version id): the socket's file name, in the process's folder.
    pub(in crate::edge) sockets: BTreeMap<(String, String), String>,
}

/// What the processes are configured from.
#[derive(Clone, Copy)]
pub(in crate::edge) struct Source<'a> {
    pub(in crate::edge) state: &'a State,
    pub(in crate::edge) seal: &'a Seal,
    /// Whether Workers may call private and loopback addresses.
    pub(in crate::edge) private_network: bool,
    /// The data folder.
    pub(in crate::edge) data: &'a Path,
    /// Which of the Workers.
    pub(in crate::edge) track: Track,
    /// Whether Durable Objects are in memory: a trial, beside the process that has those on disk.
    pub(in crate::edge) trial: bool,
}

impl Source<'_> {
    /// What a Worker's `fetch` reaches, as the runtime has it.
    fn networks(&self) -> &'static str {
        if self.private_network { "\"public\", \"private\", \"local\"" } else { "\"public\"" }
    }
}

/// The configuration of every serving version of the track's Workers; `None` where nothing serves.
pub(in crate::edge) fn render(source: Source<'_>) -> Result<Option<Config>, EdgeError> {
    let state = source.state;
    // It may hold a private key.
    let mut services = Zeroizing::new(String::new());
    let mut sockets = String::new();
    let mut helpers = String::new();
    let mut names = BTreeMap::new();
    let mut bindings = Bindings::new(source);
    let mut index = 0;
    let mut text = Zeroizing::new(String::new());
    let stopped = exclusive(state);
    let of_track =
        |script: &&std::sync::Arc<Script>| stopped.contains(script.name.as_str()) == (source.track == Track::Exclusive);
    for script in state.scripts.values().filter(of_track) {
        for (version, _) in script.serving() {
            let worker = service_name(&script.name, version);
            let service = public_name(&script.name, version);
            let socket = format!("w{index}.sock");
            if !version.modules.is_empty() {
                let _ = writeln!(services, "    (name = {}, worker = .w{index}),", quote(&worker));
                write_worker(&mut text, index, script, version, &mut bindings)?;
            }
            assets::write_service(&mut services, source.data, &worker, version);
            let _ = writeln!(
                sockets,
                "    (name = \"w{index}\", address = \"unix:{socket}\", http = (forwardedProtoHeader = \"X-Forwarded-Proto\"), service = {}),",
                quote(&service)
            );
            let _ = writeln!(helpers, "    (name = {}, service = {}),", quote(&worker), quote(&service));
            names.insert((script.name.clone(), version.id.clone()), socket);
            index += 1;
        }
    }
    if index == 0 {
        return Ok(None);
    }
    // What a Worker's `fetch` reaches. Public addresses only is the runtime's own default.
    let networks = source.networks();
    let _ =
        writeln!(services, "    (name = \"internet\", network = (allow = [{networks}], tlsOptions = (trustBrowserCas = true))),");
    bindings.write_services(&mut services);
    let objects = quote(&source.data.join("objects").to_string_lossy());
    let _ = writeln!(services, "    (name = \"objects\", disk = (path = {objects}, writable = true)),");
    let _ = writeln!(
        text,
        "const config :Workerd.Config = (\n  services = [\n{}    (name = \"absent\", worker = .absent),\n    (name = \"events\", worker = .events),\n  ],\n  sockets = [\n{sockets}    (name = \"events\", address = \"unix:{EVENTS_SOCKET}\", http = (), service = \"events\"),\n  ],\n  extensions = [(modules = [(name = {}, internal = true, esModule = {})])],\n);",
        services.as_str(),
        quote(programs::RATELIMIT_MODULE),
        quote(programs::RATELIMIT),
    );
    programs::write(&mut text, &helpers);
    text.insert_str(0, "using Workerd = import \"/workerd/workerd.capnp\";\n");
    let digest = Digest::of(text.as_bytes());
    Ok(Some(Config { text, digest, sockets: names }))
}

/// What a serving version is called in the configuration, in messages and in the helper.
pub(in crate::edge) fn service_name(script: &str, version: &Version) -> String {
    format!("{script}@{}", version.id)
}

/// What answers in place of a version: its assets, where it has some, and they ask the Worker.
pub(super) fn public_name(script: &str, version: &Version) -> String {
    match version.assets {
        Some(_) => assets::service_name(&service_name(script, version)),
        None => service_name(script, version),
    }
}

fn write_worker(
    text: &mut String,
    index: usize,
    script: &Script,
    version: &Version,
    bindings: &mut Bindings<'_>,
) -> Result<(), EdgeError> {
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
    let _ = writeln!(text, "  compatibilityFlags = [{}],", flags.join(", "));
    let _ = writeln!(text, "  cacheApiOutbound = {},\n  bindings = [", quote(&bindings.cache()));
    for (name, binding) in &version.bindings {
        let value = bindings.value(binding, script, version)?;
        let _ = writeln!(text, "    (name = {}, {}),", quote(name), value.as_str());
    }
    text.push_str("  ],\n");
    // Of several versions that serve, the objects run one: they are in one place.
    if script.runs_objects(version) {
        text.push_str("  durableObjectNamespaces = [\n");
        for (class, objects) in &script.objects {
            let (class, key, sqlite) = (quote(class), quote(&objects.id), objects.sqlite);
            let _ = writeln!(text, "    (className = {class}, uniqueKey = {key}, enableSql = {sqlite}),");
        }
        let storage = if bindings.trial() { "inMemory = void" } else { "localDisk = \"objects\"" };
        let _ = writeln!(text, "  ],\n  durableObjectStorage = ({storage}),");
    }
    text.push_str(");\n");
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
