//! `[r2.<name>]`: an R2 bucket.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{JURISDICTIONS, LOCATIONS, PlatformToml, Writing};
use crate::definition::reading::Reading;
use crate::definition::scalar;
use crate::definition::selector::OnToml;
use crate::document::Placed;
use crate::model::{Kind, PlatformSpec, Properties, ResourceName, TreeError, Value};

/// An R2 bucket.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "R2")]
pub(in crate::definition) struct R2Toml {
    /// Where it lives; every target that takes buckets unless said otherwise.
    on: Option<Placed<OnToml>>,
    /// Its name at the target; its key, `-` and the environment's name unless said otherwise. It cannot be changed.
    name: Option<Placed<String>>,
    /// Where new objects are to be stored, a hint: `wnam`, `enam`, `weur`, `eeur`, `apac`, `oc`. Read at creation only.
    location: Option<Placed<String>>,
    /// How new objects are stored: `Standard` or `InfrequentAccess`.
    storage_class: Option<Placed<String>>,
    /// Where objects must stay: `eu` or `fedramp`. It cannot be changed.
    jurisdiction: Option<Placed<String>>,
    /// Take over a bucket of this name that is there and not ours.
    adopt: Option<bool>,
    /// Its former key, when it was renamed.
    moved: Option<Placed<ResourceName>>,
}

impl PlatformToml for R2Toml {
    heads!(name);

    fn claim(&self, reading: &mut Reading<'_>, default: Placed<String>) -> Option<String> {
        let written = self.name.clone().unwrap_or(default);
        reading.check(written.place, scalar::bucket_name(&written.value))
    }
    fn spec(&self, writing: &mut Writing<'_, '_, '_>) -> Result<Option<PlatformSpec>, TreeError> {
        let location = writing.word("location", self.location.as_ref(), &LOCATIONS);
        let storage_class = writing.word("storage_class", self.storage_class.as_ref(), &["Standard", "InfrequentAccess"]);
        let jurisdiction = writing.word("jurisdiction", self.jurisdiction.as_ref(), &JURISDICTIONS);
        let fields = [("location", location), ("storage_class", storage_class), ("jurisdiction", jurisdiction)];
        Ok(writing.finish(Kind::R2, fields))
    }
    fn bound(&self) -> Properties {
        let place = self.jurisdiction.iter().map(|place| ("jurisdiction".to_owned(), Value::text(&place.value)));
        place.collect()
    }
}
