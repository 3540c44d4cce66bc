//! systemd units: their text, whether they start with the machine, whether they run.
//!
//! The text is a file of ours, written as every file is: checked beside, then in its place by one rename. A unit that a
//! package brings has no text of ours.
//!
//! **Invariant:** nothing is stopped for a text that `systemd-analyze verify` refuses; a unit that does not come up with a new
//! text gets back the former one, and runs as it did.

mod change;
mod parts;
mod program;
mod systemctl;
mod undo;
mod wait;

use std::io;
use std::os::fd::AsFd;

use super::{Eyes, Look, Seen, Sought};
use crate::agent::Fault;
use crate::agent::file;
use crate::agent::path::HostPath;
use crate::model::{Properties, Value};
use systemctl::{Shown, show};

pub(super) use change::change;
pub(in crate::agent) use program::leave as leave_programs;

/// Where the text of a unit stands.
const FOLDER: &str = "/etc/systemd/system";

/// Which of the files of a unit its text is.
const TEXT: &str = "text";

/// What there is of each, by one call.
pub(super) fn look(eyes: &Eyes<'_>, sought: &[Sought<'_>]) -> Vec<Look> {
    let shown = match show(sought.iter().map(|sought| sought.claim)) {
        Ok(shown) => shown,
        Err(fault) => return sought.iter().map(|_| Err(fault.clone())).collect(),
    };
    let nothing = Shown::default();
    sought.iter().map(|sought| one(eyes, sought, shown.get(sought.claim).unwrap_or(&nothing))).collect()
}

fn one(eyes: &Eyes<'_>, sought: &Sought<'_>, shown: &Shown) -> Look {
    let name = sought.claim;
    let mut fields = Properties::from([("name".to_owned(), Value::text(name))]);
    let brought = sought.asks("content").is_none();
    if brought {
        if !shown.is_there() {
            return Ok(None);
        }
    } else {
        let path = HostPath::parse(&format!("{FOLDER}/{name}"), eyes.policy)?;
        let folder = eyes.root.folder(path.folders())?;
        let read = folder.map(|folder| file::read(folder.as_fd(), path.name(), &path.to_string(), &mut io::sink())).transpose();
        let read = read.map_err(|fault| masked(fault, shown))?.flatten();
        match read {
            Some(read) => {
                fields.insert("content".to_owned(), read.facts.content.into());
                if read.facts.mode != 0o644 {
                    fields.insert("mode".to_owned(), Value::text(format!("{:04o}", read.facts.mode)));
                }
            }
            None if sought.last.is_some_and(|last| last.fields.contains_key("content")) || !shown.is_there() => return Ok(None),
            None => {
                let at = shown.get("FragmentPath");
                return Err(Fault::new(format!("a package brings `{name}` ({at}), and a text of ours would hide that one"))
                    .hint("leave its text out, and write a `file` into its folder of drop-ins"));
            }
        }
    }
    fields.extend(parts::look(eyes, sought)?.map(|files| ("files".to_owned(), files)));
    fields.extend(program::look(eyes, sought)?.map(|program| (program::FIELD.to_owned(), program)));
    if let Some(enabled) = sought.asks("enabled") {
        let said = match shown.get("UnitFileState") {
            "enabled" | "enabled-runtime" | "alias" => Some(Value::Bool(true)),
            "disabled" => Some(Value::Bool(false)),
            // There is no section [Install]: nothing is said about it either way.
            "static" | "indirect" | "generated" | "" => enabled.desired.is_some().then_some(Value::Bool(false)),
            word => Some(Value::text(word)),
        };
        fields.extend(said.map(|said| ("enabled".to_owned(), said)));
    }
    if let Some(state) = sought.asks("state") {
        let said = shown.state();
        // One that is still starting is on its way to where it is to be.
        let said = if said == "starting" { state.word().unwrap_or(said) } else { said };
        fields.insert("state".to_owned(), Value::text(said));
    }
    Ok(Some(Seen { fields, run: shown.get("InvocationID").to_owned(), shared: brought }))
}

fn masked(fault: Fault, shown: &Shown) -> Fault {
    if shown.get("LoadState") == "masked" {
        return Fault::new(format!("`{}` is masked: somebody keeps it from ever starting", shown.get("Id")))
            .hint(format!("`systemctl unmask {}` on the host, if it is to run", shown.get("Id")));
    }
    fault
}
