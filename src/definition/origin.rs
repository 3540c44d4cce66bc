//! Where the fields of a resource are defined: for `why`.

use std::collections::BTreeMap;

use super::reading::Reading;
use crate::document::Place;
use crate::model::Origin;

/// Gathers the origin of one resource.
pub(super) struct Tracing(Origin);

impl Tracing {
    /// Of the table whose key stands at `key`.
    pub(super) fn of(reading: &Reading<'_>, key: Place) -> Self {
        let (path, line) = reading.line(key);
        Self(Origin { path, line, fields: BTreeMap::new() })
    }

    /// `field` is written at `place`, if it is written at all.
    pub(super) fn field(&mut self, reading: &Reading<'_>, field: &str, place: Option<Place>) {
        if let Some(place) = place {
            self.0.fields.insert(field.to_owned(), reading.line(place));
        }
    }

    /// `field` is the content of the file at `path`.
    pub(super) fn whole_file(&mut self, field: &str, path: &str) {
        self.0.fields.insert(field.to_owned(), (path.to_owned(), 1));
    }

    pub(super) fn into_origin(self) -> Origin {
        self.0
    }
}
