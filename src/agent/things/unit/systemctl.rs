//! systemd, by its command line.
//!
//! **Invariant:** a name of a unit is an argument after `--`, and nothing but a name: no path, no pattern.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::agent::Fault;
use crate::agent::call::Call;

/// What is asked of every unit.
const ASKED: &str = "Id,LoadState,ActiveState,SubState,UnitFileState,FragmentPath,Result,InvocationID,Type,NRestarts,\
     ExecMainStatus,ExecMainCode,NeedDaemonReload";

/// What systemd says of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown(BTreeMap<String, String>);

impl Shown {
    /// A property; empty where systemd does not say.
    pub(super) fn get(&self, property: &str) -> &str {
        self.0.get(property).map_or("", String::as_str)
    }

    /// Whether systemd knows it.
    pub(super) fn is_there(&self) -> bool {
        !matches!(self.get("LoadState"), "" | "not-found")
    }

    /// Where it stands, in one word: `running`, `stopped`, `failed`, `starting`, `failing` (systemd starts it again and
    /// again), `stopping`.
    pub(super) fn state(&self) -> &'static str {
        match (self.get("ActiveState"), self.get("SubState")) {
            (_, "auto-restart" | "auto-restart-queued") => "failing",
            ("active" | "reloading" | "refreshing" | "maintenance", _) => "running",
            ("activating", _) => "starting",
            ("deactivating", _) => "stopping",
            ("failed", _) => "failed",
            ("inactive", _) if self.get("Type") == "oneshot" && self.has_run() => "running",
            _ => "stopped",
        }
    }

    /// Whether a unit that runs once and ends did so, and well.
    fn has_run(&self) -> bool {
        self.get("Result") == "success" && !matches!(self.get("ExecMainCode"), "" | "0")
    }

    /// Why it does not run, for people.
    pub(super) fn why(&self) -> String {
        let (result, status) = (self.get("Result"), self.get("ExecMainStatus"));
        match result {
            "exit-code" => format!("it ended with status {status}"),
            "" | "success" => format!("it is {} ({})", self.get("ActiveState"), self.get("SubState")),
            result => format!("systemd says `{result}`"),
        }
    }
}

/// What systemd says of each of `names`, by one call.
pub(super) fn show<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<BTreeMap<String, Shown>, Fault> {
    let names: Vec<&str> = names.into_iter().collect();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    check_booted()?;
    if let Some(bad) = names.iter().find(|name| !is_name(name)) {
        return Err(Fault::new(format!("`{}` is not the name of a unit", bad.escape_debug())));
    }
    let call = Call::new("systemctl").with(["show", "--no-pager", "--property", ASKED, "--"]).with(names.iter().copied());
    let out = call.succeed("systemd cannot be asked about the units")?;
    Ok(parse(&out, &names))
}

/// Blocks of `Key=value`, parted by empty lines, in the order in which they were asked for.
fn parse(out: &str, names: &[&str]) -> BTreeMap<String, Shown> {
    let block = |block: &str| {
        let lines = block.lines().filter_map(|line| line.split_once('='));
        Shown(lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    };
    names.iter().map(|name| (*name).to_owned()).zip(out.split("\n\n").map(block)).collect()
}

/// Carries out a verb on units.
pub(super) fn systemctl<'a>(verb: &[&str], names: impl IntoIterator<Item = &'a str>) -> Result<(), Fault> {
    let names: Vec<&str> = names.into_iter().collect();
    let what = match names.as_slice() {
        [] => format!("`systemctl {}` failed", verb.join(" ")),
        names => format!("`systemctl {}` failed for `{}`", verb.join(" "), names.join("`, `")),
    };
    let call = Call::new("systemctl").with(verb.iter().copied()).with(["--no-pager", "--no-ask-password"]);
    let call = if names.is_empty() { call } else { call.with(["--"]).with(names) };
    call.patience(Duration::from_secs(120)).succeed(&what).map(drop)
}

/// What is wrong with the unit at `path`, a file of its own name.
pub(super) fn verify(path: &Path, name: &str) -> Result<(), Fault> {
    let what = format!("the new text of `{name}` does not pass `systemd-analyze verify`");
    let call = |strict: &[&str]| {
        // What stands beside it is as new as it is: a timer finds its service.
        let folder = path.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
        let call = Call::new("systemd-analyze").with(["verify", "--man=no"]).with(strict.iter().copied()).with(["--"]);
        call.with([path.to_string_lossy()]).variable("SYSTEMD_UNIT_PATH", format!("{folder}:")).run()
    };
    // A key that systemd does not know is a warning, and a warning is a fault; systemd before 250 does not say so by its status.
    let called = match call(&["--recursive-errors=no"]).map_err(|not_called| not_called.fault("systemd-analyze", &what))? {
        called if called.err.contains("unrecognized option") => {
            call(&[]).map_err(|not_called| not_called.fault("systemd-analyze", &what))?
        }
        called => called,
    };
    if called.status.success() { Ok(()) } else { Err(called.fault(&what)) }
}

/// Whether systemd keeps this machine.
fn check_booted() -> Result<(), Fault> {
    if Path::new("/run/systemd/system").is_dir() {
        return Ok(());
    }
    Err(Fault::new("this host is not kept by systemd: there is no /run/systemd/system")
        .hint("a unit needs a host whose first process is systemd; take `unit` off this host by its `on`"))
}

fn is_name(name: &str) -> bool {
    let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@');
    name.len() <= 200 && name.bytes().all(letters) && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lines: &str) -> Shown {
        parse(lines, &["x.service"]).remove("x.service").unwrap()
    }

    #[test]
    fn where_a_unit_stands_is_one_word() {
        for (lines, state) in [
            ("ActiveState=active\nSubState=running", "running"),
            ("ActiveState=activating\nSubState=start", "starting"),
            ("ActiveState=activating\nSubState=auto-restart", "failing"),
            ("ActiveState=failed\nSubState=failed", "failed"),
            ("ActiveState=inactive\nSubState=dead\nType=simple\nResult=success", "stopped"),
            ("ActiveState=inactive\nType=oneshot\nResult=success\nExecMainCode=1", "running"),
            ("ActiveState=inactive\nType=oneshot\nResult=success\nExecMainCode=0", "stopped"),
            ("ActiveState=active\nSubState=waiting", "running"),
            ("LoadState=not-found\nActiveState=inactive", "stopped"),
        ] {
            assert_eq!(shown(lines).state(), state, "{lines}");
        }
        assert!(!shown("LoadState=not-found").is_there() && shown("LoadState=loaded").is_there());
        let two = parse("Id=a.service\nResult=x\n\nId=b.service\nResult=y\n", &["a.service", "b.service"]);
        assert_eq!((two["a.service"].get("Result"), two["b.service"].get("Result")), ("x", "y"));
    }

    #[test]
    fn only_names_reach_systemd() {
        for bad in ["-H", "a*.service", "../x.service", "a b.service", "", "a/b.service", "a\n.service"] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
