//! `[kv.<name>]`: a Workers KV namespace.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{JURISDICTIONS, PlatformToml, Writing};
use crate::definition::reading::Reading;
use crate::definition::scalar;
use crate::definition::selector::OnToml;
use crate::document::Placed;
use crate::model::{Kind, PlatformSpec, ResourceName, TreeError};

/// A Workers KV namespace.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Kv")]
pub(in crate::definition) struct KvToml {
    /// Where it lives; every target that takes KV namespaces unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// Its title at the target; its key, `-` and the environment's name unless said otherwise.
    title: Option<Placed<String>>,
    /// Where its data must stay: `eu` or `fedramp`. It cannot be changed.
    jurisdiction: Option<Placed<String>>,
    /// Take over a namespace of this title that is there and not ours.
    adopt: Option<bool>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

impl PlatformToml for KvToml {
    heads!(title);

    fn claim(&self, reading: &mut Reading<'_>, default: Placed<String>) -> Option<String> {
        let written = self.title.clone().unwrap_or(default);
        reading.check(written.place, scalar::title(&written.value))
    }
    fn spec(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Option<PlatformSpec>, TreeError> {
        let jurisdiction = writing.word("jurisdiction", self.jurisdiction.as_ref(), &JURISDICTIONS);
        Ok(writing.finish(Kind::Kv, [("jurisdiction", jurisdiction)]))
    }
}
