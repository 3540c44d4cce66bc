//! What is done about an environment while one of its hosts cannot be reached, as the host's definition says.
//!
//! **Invariant:** nothing is made, changed or deleted on a host that does not answer, whatever its policy: what is there is
//! unknown. A host that answers and refuses us (another host key, no login) is not away, and no policy leaves it out.

use std::collections::{BTreeMap, BTreeSet};

use super::Stop;
use crate::model::{DesiredState, Offline, TargetKind, TargetName};
use crate::record::ConditionReason;

/// The hosts that an environment is ready without.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut(BTreeSet<TargetName>);

impl LeftOut {
    pub(super) fn includes(&self, target: &TargetName) -> bool {
        self.0.contains(target)
    }

    /// For people, after what was done; empty where nobody is left out.
    pub(super) fn told(&self) -> String {
        let names: Vec<String> = self.0.iter().map(|name| format!("`{name}`")).collect();
        if names.is_empty() {
            String::new()
        } else {
            format!("; without {}, out of reach (offline = \"skip\")", names.join(", "))
        }
    }
}

/// Who is left out, of those that cannot be reached `now`, each with the reason.
///
/// # Errors
/// [`Stop`] where one of them says that nothing is applied without it.
pub(super) fn leave_out(desired: &DesiredState, away: &BTreeMap<TargetName, String>) -> Result<LeftOut, Stop> {
    let policy = |name: &TargetName| match &desired.targets.get(name)?.kind {
        TargetKind::Host(host) => Some(host.offline),
        TargetKind::Cloudflare(_) | TargetKind::Edge(_) => None,
    };
    if let Some((name, why)) = away.iter().find(|(name, _)| policy(name) == Some(Offline::Fail)) {
        let message = format!("nothing is applied without the host `{name}` (offline = \"fail\"): {why}");
        return Err(Stop::waiting(ConditionReason::Unreachable, message, None));
    }
    Ok(LeftOut(away.keys().filter(|name| policy(name) == Some(Offline::Skip)).cloned().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Connect, HostTarget, Sync, Target};

    fn desired(hosts: &[(&str, Offline)]) -> DesiredState {
        let target = |offline| Target {
            region: None,
            labels: BTreeMap::new(),
            kind: TargetKind::Host(HostTarget { connect: Connect::Local, root: None, offline }),
        };
        DesiredState {
            environment: "production".parse().unwrap(),
            description: None,
            retire: false,
            sync: Sync::default(),
            digest_key: None,
            targets: hosts.iter().map(|(name, offline)| (name.parse().unwrap(), target(*offline))).collect(),
            resources: BTreeMap::new(),
            secrets: BTreeMap::new(),
            policies: BTreeMap::new(),
        }
    }

    fn away(names: &[&str]) -> BTreeMap<TargetName, String> {
        names.iter().map(|name| (name.parse().unwrap(), "no route to host".to_owned())).collect()
    }

    #[test]
    fn each_policy_is_kept() {
        let desired = desired(&[("a", Offline::Wait), ("b", Offline::Skip), ("c", Offline::Fail)]);
        let left_out = leave_out(&desired, &away(&["a", "b"])).unwrap();
        let includes = |name: &str| left_out.includes(&name.parse().unwrap());
        assert_eq!((includes("a"), includes("b"), includes("c")), (false, true, false));
        assert!(left_out.told().contains("`b`"), "{}", left_out.told());
        let stop = leave_out(&desired, &away(&["b", "c"])).unwrap_err();
        assert!(stop.condition.message().contains("`c`") && stop.condition.message().contains("no route to host"));
        assert_eq!(leave_out(&desired, &away(&["gone"])).unwrap().told(), "");
    }
}
