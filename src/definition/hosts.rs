//! What a name of the DNS can have together, within one environment.
//!
//! **Invariant:** what the platform makes by itself (the record of a custom domain) is defined nowhere else, and a `CNAME`
//! stands alone.

use std::collections::BTreeMap;

use super::reading::Reading;
use crate::document::{Fault, Place};
use crate::model::{Address, Kind, PlatformSpec, TargetName, Value};

/// Names that are defined, with what they are, by target.
#[derive(Default)]
pub(super) struct Hosts(BTreeMap<(TargetName, String), Vec<Holder>>);

struct Holder {
    address: Address,
    key: Place,
    /// The type of the record; `None` for a custom domain.
    sort: Option<String>,
}

impl Hosts {
    /// Adds what `spec` says of a name; a fault where that does not go with what another resource says of it.
    pub(super) fn add(
        &mut self,
        reading: &mut Reading<'_>,
        spec: &PlatformSpec,
        (address, key): (&Address, Place),
        target: &TargetName,
    ) {
        let field = |name: &str| spec.fields.get(name).and_then(Value::as_text).map(str::to_owned);
        let (name, sort) = match spec.sort {
            Kind::Domain => (Some(spec.claim.clone()), None),
            Kind::Dns => (field("name"), field("type")),
            _ => return,
        };
        let Some(name) = name else { return };
        let new = Holder { address: address.clone(), key, sort };
        let holders = self.0.entry((target.clone(), name.clone())).or_default();
        if let Some((other, hint)) = holders.iter().find_map(|other| Some((other, together(other, &new)?))) {
            let message = format!("`{}` and `{}` both say what `{name}` is", other.address.local(), new.address.local());
            reading.fault(Fault::new(key, message).label("again, here").related(other.key, "first here").hint(hint));
        }
        holders.push(new);
    }
}

/// Why two do not go together.
fn together(one: &Holder, other: &Holder) -> Option<&'static str> {
    let is = |holder: &Holder, sorts: &[&str]| holder.sort.as_deref().is_some_and(|sort| sorts.contains(&sort));
    match (&one.sort, &other.sort) {
        // Two custom domains of one host claim one thing: that is told as such.
        (None, None) => None,
        (None, Some(_)) | (Some(_), None) => {
            let addresses = ["A", "AAAA", "CNAME"];
            (is(one, &addresses) || is(other, &addresses))
                .then_some("a custom domain brings its own record: remove the `dns` table")
        }
        (Some(_), Some(_)) => {
            let alone = is(one, &["CNAME"]) != is(other, &["CNAME"]);
            alone.then_some("a CNAME stands alone under its name: remove one of them, or give it another name")
        }
    }
}
