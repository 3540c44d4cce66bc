//! `[directory.<name>]`: a directory on a host.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{HostedToml, Specs, Writing};
use crate::definition::file::account;
use crate::definition::reading::Reading;
use crate::definition::scalar;
use crate::definition::scope::required;
use crate::definition::selector::OnToml;
use crate::document::Placed;
use crate::model::{Kind, ResourceName, TreeError, Value};

/// A directory on a host. What is in it is nobody's business but that of those who put it there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Directory")]
pub(in crate::definition) struct DirectoryToml {
    /// Where it lives; every host unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// Where it stands on the host: absolute, without `..`.
    #[schemars(required)]
    path: Option<Placed<String>>,
    /// Permissions in octal, such as `0750`; `0755` unless said otherwise.
    mode: Option<Placed<String>>,
    /// The owner's name or number.
    owner: Option<Placed<String>>,
    /// The group's name or number.
    group: Option<Placed<String>>,
    /// Take over a directory that is there and not ours.
    adopt: Option<bool>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

impl HostedToml for DirectoryToml {
    heads!(path);

    fn adopt(&self) -> bool {
        self.adopt.unwrap_or_default()
    }

    fn claim(&self, reading: &mut Reading<'_>, _default: Placed<String>) -> Option<String> {
        let written = self.path.as_ref()?;
        reading.check(written.place, scalar::host_path(&written.value))
    }

    fn specs(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Specs, TreeError> {
        let hint = "write where the directory stands on the host, such as `path = \"/var/lib/ads-engine\"`";
        let draft = writing.draft;
        required(writing.reading, (draft.key, &draft.dropped), "path", self.path.as_ref(), hint);
        let mode = match &self.mode {
            Some(mode) => writing.reading.check(mode.place, scalar::mode(&mode.value)),
            None => Some(0o755),
        };
        for (field, written) in [("mode", &self.mode), ("owner", &self.owner), ("group", &self.group)] {
            writing.trace(field, written.as_ref().map(|written| written.place));
        }
        let owner = account(writing.reading, self.owner.as_ref()).flatten();
        let group = account(writing.reading, self.group.as_ref()).flatten();
        Ok(writing.finish(
            Kind::Directory,
            [
                ("mode", mode.map(|mode| Value::text(format!("{mode:04o}")))),
                ("owner", owner.map(Value::text)),
                ("group", group.map(Value::text)),
            ],
        ))
    }
}
