//! What a template places without knowing it: secrets, and tokens of tunnels.
//!
//! **Invariant:** none of these has a text but a mark that the formatter refuses: whoever does anything with one but place it
//! is told so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minijinja::value::{Object, ObjectRepr, Value};
use minijinja::{Error, ErrorKind};

use crate::document::shown;
use crate::model::{ResourceName, TOKEN, TargetName};

/// What a secret shows where it must not stand.
const MISUSED: &str = "\u{2983}trunkline-secret-misused\u{2984}";

/// What a template can place without knowing it.
pub(in crate::definition) struct Known<'a> {
    /// The secrets that the environment defines.
    pub(in crate::definition) secrets: &'a BTreeSet<ResourceName>,
    /// Its tunnels, and on which targets each of them is.
    pub(in crate::definition) tunnels: BTreeMap<ResourceName, BTreeSet<TargetName>>,
}

/// Stands for a secret inside of a template: the formatter turns it into a placeholder, anything else into a mark that
/// the formatter refuses.
#[derive(Debug, Clone)]
pub(super) enum SecretUse {
    Secret(ResourceName),
    Token(ResourceName),
}

impl Object for SecretUse {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MISUSED)
    }
}

pub(super) fn refuse(detail: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail)
}

/// `tunnel`: the tunnels of the environment. Their own text is a mark that the formatter refuses.
#[derive(Debug)]
pub(super) struct Tunnels(pub(super) BTreeMap<ResourceName, BTreeSet<TargetName>>);

impl Object for Tunnels {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        let found = self.0.iter().find(|(name, _)| name.as_str() == key);
        Some(match found {
            Some((_, targets)) if targets.len() > 1 => {
                let list = targets.iter().map(|target| format!("`{target}`")).collect::<Vec<_>>().join(", ");
                Value::from(refuse(format!("`tunnel.{key}` is on {list}, and each has a token of its own: give it one target")))
            }
            Some((name, _)) => Value::from_object(TunnelUse(name.clone())),
            None => Value::from(refuse(format!(
                "there is no `tunnel.{}` in this environment: a token is had where its tunnel is defined, so define the file there, or the tunnel here",
                shown(key)
            ))),
        })
    }
    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MISUSED)
    }
}

/// `tunnel.name`, of which only the token is to be had.
#[derive(Debug)]
struct TunnelUse(ResourceName);

impl Object for TunnelUse {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(match key.as_str()? {
            TOKEN => Value::from_object(SecretUse::Token(self.0.clone())),
            other => Value::from(refuse(format!("a template sees of a tunnel its `token` alone, and no `{}`", shown(other)))),
        })
    }
    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MISUSED)
    }
}
