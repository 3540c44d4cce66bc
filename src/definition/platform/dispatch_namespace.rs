//! `[dispatch_namespace.<name>]`: a dispatch namespace of Workers for Platforms.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{PlatformToml, Writing, names};
use crate::definition::reading::Reading;
use crate::definition::selector::OnToml;
use crate::document::Placed;
use crate::model::{Kind, PlatformSpec, ResourceName, TreeError};

/// A dispatch namespace, which holds the Workers of others.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DispatchNamespace")]
pub(in crate::definition) struct DispatchNamespaceToml {
    /// Where it lives; every target that takes dispatch namespaces unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// Its name at the target; its key, `-` and the environment's name unless said otherwise. It cannot be changed.
    name: Option<Placed<String>>,
    /// Take over a namespace of this name that is there and not ours.
    adopt: Option<bool>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

impl PlatformToml for DispatchNamespaceToml {
    heads!(name);

    fn claim(&self, reading: &mut Reading<'_>, default: Placed<String>) -> Option<String> {
        let written = self.name.clone().unwrap_or(default);
        reading.check(written.place, names::name(&written.value, "dispatch namespace", (63, true)))
    }
    fn spec(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Option<PlatformSpec>, TreeError> {
        Ok(writing.finish(Kind::DispatchNamespace, []))
    }
}
