//! What two environments both claim: a script, a namespace, a path, a route.
//!
//! Goes in: the desired states of a repository. Comes out: a fault for each claim of one thing by a second environment.
//! Within one environment, [`super::resolve()`] sees to it.
//!
//! **Invariant:** names of targets do not matter, since two environments may call one account differently: what counts is
//! the endpoint and the account, or the host and its root.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::paths::{Stands, folders, paths};
use super::target::place_of;
use crate::document::shown;
use crate::model::{Desired, DesiredState, Diagnostic, InstanceKey, Origin, Related, Spec};

/// The word for the paths of a host.
const PATH: &str = "path";

/// What somebody has at one place: what it is, and what it is called.
type Claim = ((String, String), &'static str, String);

/// The faults, sorted. `read` gives a file, so that a fault shows its place.
pub fn contested(states: &[&DesiredState], read: &dyn Fn(&str) -> Option<Arc<[u8]>>) -> Vec<Diagnostic> {
    let mut owners: BTreeMap<Claim, (&InstanceKey, &Origin, Stands)> = BTreeMap::new();
    let mut faults = Vec::new();
    for desired in states.iter().filter(|desired| !desired.retire) {
        for (key, wanted) in &desired.resources {
            let Some(target) = desired.targets.get(&key.target) else { continue };
            for (what, name, stands) in claims(wanted) {
                let claim = (place_of(&target.kind), what, name);
                match owners.get(&claim) {
                    Some((owner, origin, _)) if owner.address.environment != key.address.environment => {
                        let (_, what, name) = claim;
                        let message = format!(
                            "`{}` and `{}` both claim the {what} `{}` at one place",
                            owner.address,
                            key.address,
                            shown(&name)
                        );
                        let label = format!("claimed again, on `{}`", key.target);
                        faults.push(fault(read, &wanted.origin, (origin, "claimed here"), (message, label)));
                        // Whose name it is, its paths are.
                        break;
                    }
                    Some(_) => {}
                    None => drop(owners.insert(claim, (key, &wanted.origin, stands))),
                }
            }
        }
    }
    for ((place, what, path), (key, origin, _)) in owners.iter().filter(|((_, what, _), _)| *what == PATH) {
        let above = |folder: &str| owners.get_key_value(&(place.clone(), PATH, folder.to_owned()));
        let in_file = |folder| above(folder).filter(|(_, (_, _, stands))| *stands == Stands::File);
        let Some(((_, _, folder), (owner, first, _))) = folders(path).find_map(in_file) else { continue };
        if owner.address.environment != key.address.environment {
            let (path, folder) = (shown(path), shown(folder));
            let message =
                format!("the {what} `{path}` of `{}` lies in `{folder}`, which `{}` makes a file", key.address, owner.address);
            faults.push(fault(read, origin, (first, "a file here"), (message, format!("on `{}`", key.target))));
        }
    }
    faults.sort();
    faults.dedup();
    faults
}

/// What a thing is called, and the paths that it takes.
fn claims(wanted: &Desired) -> Vec<(&'static str, String, Stands)> {
    let named = |what: &'static str, name: &str| (what, name.to_owned(), Stands::Folder);
    let name = match &wanted.spec {
        Spec::Worker(worker) => {
            let routes = worker.routes.iter().map(|route| named("route", &route.pattern));
            return [named("script", &worker.script)].into_iter().chain(routes).collect();
        }
        Spec::Platform(platform) => return vec![named(platform.sort.as_str(), &platform.claim)],
        // Several may want one package: it goes with the last.
        Spec::Hosted(hosted) if hosted.sort.is_shared() => return Vec::new(),
        Spec::Hosted(hosted) => Some(named(hosted.sort.as_str(), &hosted.claim)),
        Spec::File(_) => None,
    };
    let paths = paths(&wanted.spec);
    let is_path = paths.first().is_some_and(|(path, _)| path == wanted.spec.claim());
    name.filter(|_| !is_path).into_iter().chain(paths.into_iter().map(|(path, stands)| (PATH, path, stands))).collect()
}

fn fault(
    read: &dyn Fn(&str) -> Option<Arc<[u8]>>,
    origin: &Origin,
    (first, what): (&Origin, &str),
    (message, label): (String, String),
) -> Diagnostic {
    let span = line(read, origin);
    let mut fault = Diagnostic::error(&origin.path, Some(span), message).label(label);
    // Both may come from one base: then there is only one place to show.
    if (&origin.path, origin.line) != (&first.path, first.line) {
        let (path, place) = (first.path.clone(), line(read, first));
        fault = fault.related(Related { path, start: place.start, end: place.end, label: what.to_owned() });
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
