//! What two environments both claim: a script, a namespace, a path, a route.
//!
//! Goes in: the desired states of a repository. Comes out: a fault for each claim of one thing by a second environment.
//! Within one environment, [`super::resolve()`] sees to it.
//!
//! **Invariant:** names of targets do not matter, since two environments may call one account differently: what counts is
//! the endpoint and the account, or the host and its root.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Desired, DesiredState, Diagnostic, InstanceKey, Kind, Origin, Related, Spec, TargetKind};

/// The faults, sorted. `read` gives a file, so that a fault shows its place.
pub fn contested(states: &[&DesiredState], read: &dyn Fn(&str) -> Option<Arc<[u8]>>) -> Vec<Diagnostic> {
    let mut owners: BTreeMap<(String, &'static str, &str), (&InstanceKey, &Origin)> = BTreeMap::new();
    let mut faults = Vec::new();
    for desired in states.iter().filter(|desired| !desired.retire) {
        for (key, wanted) in &desired.resources {
            let Some(target) = desired.targets.get(&key.target) else { continue };
            for (what, name) in claims(wanted) {
                let claim = (place(&target.kind), what, name);
                match owners.get(&claim) {
                    Some((owner, origin)) if owner.address.environment != key.address.environment => {
                        faults.push(fault(read, (key, &wanted.origin), (owner, origin), what, name));
                    }
                    Some(_) => {}
                    None => drop(owners.insert(claim, (key, &wanted.origin))),
                }
            }
        }
    }
    faults.sort();
    faults.dedup();
    faults
}

/// Where a target's things have their names.
fn place(kind: &TargetKind) -> String {
    match kind {
        TargetKind::Cloudflare(target) => format!("{} {}", target.endpoint, target.account_id),
        TargetKind::Edge(target) => format!("{} {}", target.endpoint, target.account_id),
        TargetKind::Host(target) => format!("{:?} {:?}", target.connect, target.root),
    }
}

fn claims(wanted: &Desired) -> Vec<(&'static str, &str)> {
    match &wanted.spec {
        Spec::Worker(worker) => {
            let routes = worker.routes.iter().map(|route| ("route", route.pattern.as_str()));
            [("script", worker.script.as_str())].into_iter().chain(routes).collect()
        }
        Spec::Platform(platform) => vec![(platform.sort.as_str(), &platform.claim)],
        Spec::File(file) => vec![("path", &file.path)],
        // A directory and a file cannot have one path either.
        Spec::Hosted(hosted) if hosted.sort == Kind::Directory => vec![("path", &hosted.claim)],
        // Several may want one package: it goes with the last.
        Spec::Hosted(hosted) if hosted.sort.is_shared() => Vec::new(),
        Spec::Hosted(hosted) => vec![(hosted.sort.as_str(), &hosted.claim)],
    }
}

type Owner<'a> = (&'a InstanceKey, &'a Origin);

fn fault(
    read: &dyn Fn(&str) -> Option<Arc<[u8]>>,
    (key, origin): Owner<'_>,
    (owner, first): Owner<'_>,
    what: &str,
    name: &str,
) -> Diagnostic {
    let span = line(read, origin);
    let message = format!("`{}` and `{}` both claim the {what} `{name}` at one place", owner.address, key.address);
    let mut fault = Diagnostic::error(&origin.path, Some(span), message).label(format!("claimed again, on `{}`", key.target));
    // Both may come from one base: then there is only one place to show.
    if (&origin.path, origin.line) != (&first.path, first.line) {
        let (path, place) = (first.path.clone(), line(read, first));
        fault = fault.related(Related { path, start: place.start, end: place.end, label: "claimed here".to_owned() });
    }
    fault.hint("give each environment a name of its own, or take it out of one of them")
}

/// The line of the table, without its end.
fn line(read: &dyn Fn(&str) -> Option<Arc<[u8]>>, origin: &Origin) -> std::ops::Range<usize> {
    let Some(bytes) = read(&origin.path) else { return 0..0 };
    let mut start = 0;
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if number + 1 == origin.line {
            return start..start + line.len();
        }
        start += line.len() + 1;
    }
    0..0
}
