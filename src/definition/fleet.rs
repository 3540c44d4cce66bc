//! A host of the fleet, as it is declared.

use std::path::PathBuf;

use super::connect::{self, Way};
use super::reading::Reading;
use super::scalar;
use super::scope::{Scope, required, told};
use super::target::labels;
use super::target_tables::{HostToml, OfflineToml};
use super::written::LATER_KEYS;
use crate::document::{Entries, Fault, Node, Place, decode};
use crate::model::{Connect, HostTarget, Offline, SshTarget, Target, TargetKind, TargetName};

/// Where a host that is reached by SSH keeps the executor and what it knows, unless its table says otherwise.
const STATE: &str = "/var/lib/trunkline";

impl Scope {
    pub(super) fn host(&mut self, reading: &mut Reading<'_>, name: &TargetName, (key, node): (Place, &Node)) -> Option<Target> {
        let decoded = told(reading, decode::<HostToml>(node, LATER_KEYS));
        let written = decoded.value?;
        let hint =
            "write `connect = \"local\"`, the daemon's own machine, `connect = \"ssh://user@host\"`, or `connect = \"agent\"`";
        let way = required(reading, (key, &decoded.dropped), "connect", written.connect, hint);
        let way = way.and_then(|way| reading.check(way.place, connect::connect(&way.value)));
        let host_key = match &written.host_key {
            Some(key) => Some(reading.check(key.place, connect::host_key(&key.value))?),
            None => None,
        };
        let state = match &written.state {
            Some(state) => reading.check(state.place, scalar::host_path(&state.value)).map(PathBuf::from)?,
            None => PathBuf::from(STATE),
        };
        let root = match written.root {
            Some(root) => Some(reading.check(root.place, scalar::host_path(&root.value))?.into()),
            None => None,
        };
        let connect = match way? {
            Way::Ssh { user, host, port } => {
                let elevate = written.elevate.is_some_and(|elevate| elevate.value);
                Connect::Ssh(SshTarget { user, host, port, host_key, elevate, state })
            }
            way @ (Way::Local | Way::Agent) => {
                let said = [
                    ("host_key", written.host_key.map(|key| key.place)),
                    ("become", written.elevate.map(|elevate| elevate.place)),
                    ("state", written.state.map(|state| state.place)),
                ];
                for (key, place) in said.into_iter().filter_map(|(key, place)| Some((key, place?))) {
                    let message = format!("`{key}` belongs to `ssh://`");
                    let hint = match way {
                        Way::Agent => "remove it: an agent has its own identity, and its own state on its host",
                        _ => "remove it: `local` is the daemon's own machine and user",
                    };
                    reading.fault(Fault::new(place, message).hint(hint));
                }
                match way {
                    Way::Agent => Connect::Agent { name: name.clone() },
                    _ => Connect::Local,
                }
            }
        };
        let offline = match written.offline.map(|offline| offline.value) {
            None | Some(OfflineToml::Wait) => Offline::Wait,
            Some(OfflineToml::Skip) => Offline::Skip,
            Some(OfflineToml::Fail) => Offline::Fail,
        };
        let Entries(vars) = written.vars.unwrap_or_default();
        let vars = vars.into_iter().map(|(key, value)| (key.value, value.value)).collect();
        self.host_vars.insert(name.clone(), vars);
        let (region, labels) = labels(reading, written.region, written.labels);
        Some(Target { region, labels, kind: TargetKind::Host(HostTarget { connect, root, offline }) })
    }
}
