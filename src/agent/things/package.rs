//! Packages of the distribution, by `dpkg-query` and `apt-get`.
//!
//! **Invariant:** nothing is upgraded, and no question of a package is answered but with what it proposes; a package that
//! was there before, or that another environment wants too, is never removed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Ended, FOUND, Look, Seen, Sought, Work};
use crate::agent::apply::Site;
use crate::agent::call::Call;
use crate::agent::fault::Stop;
use crate::agent::{Fault, state};
use crate::model::{Kind, Properties, Value};

/// How long installing may take: much comes over a network.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// What there is of each, by one call.
pub(super) fn look(sought: &[Sought<'_>]) -> Vec<Look> {
    let installed = match installed(sought.iter().map(|sought| sought.claim)) {
        Ok(installed) => installed,
        Err(fault) => return sought.iter().map(|_| Err(fault.clone())).collect(),
    };
    sought
        .iter()
        .map(|sought| {
            let Some(version) = installed.get(sought.claim) else { return Ok(None) };
            let mut fields = Properties::from([("name".to_owned(), Value::text(sought.claim))]);
            if sought.asks("version").is_some() {
                fields.insert("version".to_owned(), Value::text(version));
            }
            Ok(Some(Seen { fields, run: String::new(), shared: true }))
        })
        .collect()
}

/// The versions of those that are installed.
fn installed<'a>(names: impl Iterator<Item = &'a str>) -> Result<BTreeMap<String, String>, Fault> {
    let what = "the packages of this host cannot be listed";
    let format = "${Package}:${Architecture}\\t${db:Status-Status}\\t${Version}\\n";
    let names: Vec<&str> = names.collect();
    let call = Call::new("dpkg-query").with(["--show", "--showformat", format, "--"]).with(names.iter().copied());
    let called = call.run().map_err(|not_called| not_called.fault("dpkg-query", what))?;
    // It ends with 1 where it does not know one of them: that one is not installed.
    if !matches!(called.status.code(), Some(0 | 1)) {
        return Err(called.fault(what));
    }
    let mut found = BTreeMap::new();
    for line in called.out.lines() {
        let mut words = line.split('\t');
        if let (Some(name), Some("installed"), Some(version)) = (words.next(), words.next(), words.next()) {
            let bare = name.split_once(':').map_or(name, |(bare, _)| bare);
            let asked = names.iter().filter(|asked| **asked == name || **asked == bare);
            found.extend(asked.map(|asked| ((*asked).to_owned(), version.to_owned())));
        }
    }
    Ok(found)
}

/// Installs and removes them: all that are to be installed by one call where that goes well, so that what they need is found
/// once.
pub(super) fn change(site: &mut Site<'_>, works: &[Work]) -> Vec<Result<Ended, Stop>> {
    let missing = |work: &&Work| work.wanted.is_some() && is_to_be_installed(work);
    let specs: Vec<String> = works.iter().filter(missing).map(spec).collect();
    let together = if specs.is_empty() { Ok(String::new()) } else { install(&specs) };
    works
        .iter()
        .map(|work| match (&work.wanted, &together) {
            (None, _) => remove(site, work),
            (Some(_), _) if !is_to_be_installed(work) => Ok(Ended::default()),
            (Some(_), Ok(_)) => Ok(Ended { changed: true, ..Ended::default() }),
            // One that cannot be had keeps the others from nothing.
            (Some(_), Err(fault)) if specs.len() == 1 => Err(fault.clone().into()),
            (Some(_), Err(_)) => Ok(install(&[spec(work)]).map(|_| Ended { changed: true, ..Ended::default() })?),
        })
        .collect()
}

fn is_to_be_installed(work: &Work) -> bool {
    work.seen.is_none() || work.field("version") != work.there("version")
}

fn spec(work: &Work) -> String {
    match work.field("version").and_then(Value::as_text) {
        Some(version) => format!("{}={version}", work.claim),
        None => work.claim.clone(),
    }
}

fn apt() -> Call {
    let options = ["-y", "-q", "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold", "-o"];
    let call = Call::new("apt-get").with(options).with(["DPkg::Lock::Timeout=120"]).patience(PATIENCE);
    call.variable("DEBIAN_FRONTEND", "noninteractive").variable("HOME", "/root")
}

fn install(specs: &[String]) -> Result<String, Fault> {
    let what =
        if let [one] = specs { format!("`{one}` cannot be installed") } else { "the packages cannot be installed".to_owned() };
    let options = ["install", "--no-install-recommends", "--allow-downgrades", "--"];
    let call = || apt().with(options).with(specs.iter().cloned());
    // A list that is too old, or none, is read anew once.
    call().succeed(&what).or_else(|_| {
        apt().with(["update"]).succeed("the lists of packages cannot be read")?;
        call().succeed(&what)
    })
}

fn remove(site: &Site<'_>, work: &Work) -> Result<Ended, Stop> {
    let found = work.last.as_ref().is_none_or(|last| last.memory.contains_key(FOUND));
    let kept = |why: String| Ok(Ended { warnings: vec![why], ..Ended::default() });
    if work.seen.is_none() {
        return Ok(Ended::default());
    }
    if found {
        return kept(format!("the package `{}` was there before: it stays", work.claim));
    }
    let others = state::everybody(site.policy, &site.root)?;
    let wants = |(id, manifest): &(crate::model::EnvironmentId, crate::agent::manifest::Manifest)| {
        let others = manifest.things.iter().filter(|(key, _)| **key != work.key);
        let wants = others.into_iter().any(|(key, thing)| key.address.kind == Kind::Package && thing.claim == work.claim);
        wants.then(|| id.clone())
    };
    if let Some(other) = others.iter().find_map(wants) {
        return kept(format!("the package `{}` is wanted by the environment `{other}` too: it stays", work.claim));
    }
    // dpkg itself, which refuses where something else needs it: apt would remove that too.
    let call = Call::new("dpkg").with(["--remove", "--", work.claim.as_str()]).variable("DEBIAN_FRONTEND", "noninteractive");
    call.patience(PATIENCE).succeed(&format!("`{}` cannot be removed", work.claim))?;
    Ok(Ended { changed: true, ..Ended::default() })
}
