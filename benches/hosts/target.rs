//! A host that files are put on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::sshd::Sshd;

/// A host, as ours and the others are told of it.
pub(crate) struct Target {
    /// Its table in the fleet, without its heading.
    pub(crate) table: String,
    /// How it is reached; nothing for the machine itself.
    pub(crate) ssh: Option<Ssh>,
    /// The folder that files are put into, as the host calls it; for ours, beneath its root.
    pub(crate) folder: String,
    /// Its root, where that is not `/`.
    root: Option<TempDir>,
}

/// Where an sshd listens, and who is let in.
pub(crate) struct Ssh {
    pub(crate) user: String,
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) key: PathBuf,
    /// The lines of what its sshd logs.
    log: Box<dyn Fn() -> String>,
}

impl Ssh {
    /// How many commands were run so far on all of them, and over how many connections.
    pub(crate) fn counts_of(targets: &[Target]) -> (usize, usize) {
        // Several addresses of one sshd have one log, and one port.
        let logs: BTreeMap<u16, &Self> =
            targets.iter().filter_map(|target| target.ssh.as_ref()).map(|ssh| (ssh.port, ssh)).collect();
        logs.values().map(|ssh| ssh.counts()).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    }

    fn counts(&self) -> (usize, usize) {
        let log = (self.log)();
        let count = |start: &str| log.lines().filter(|line| line.starts_with(start)).count();
        (count("Starting session: command"), count("Accepted publickey"))
    }
}

impl Target {
    /// This machine, beneath a folder.
    pub(crate) fn local() -> Self {
        let root = tempfile::tempdir().unwrap();
        let table = format!("connect = \"local\"\nroot = {:?}\n", root.path());
        Self { table, ssh: None, folder: "/srv".to_owned(), root: Some(root) }
    }

    /// This machine by its sshd, beneath a folder: the `n`th address of loopback, as if it were a machine of its own.
    pub(crate) fn loopback((sshd, key): (&Sshd, &Path), n: usize) -> Self {
        let (root, address) = (tempfile::tempdir().unwrap(), loopback(n));
        let state = root.path().join("state");
        let table = format!(
            "connect = \"ssh://{}@{address}:{}\"\nhost_key = \"{}\"\nstate = {:?}\nroot = {:?}\n",
            sshd.user(),
            sshd.port,
            sshd.public("host"),
            state,
            root.path()
        );
        let log = sshd.folder.path().join("log");
        let ssh = Ssh {
            user: sshd.user(),
            address,
            port: sshd.port,
            key: key.to_owned(),
            log: Box::new(move || std::fs::read_to_string(&log).unwrap_or_default()),
        };
        Self { table, ssh: Some(ssh), folder: "/srv".to_owned(), root: Some(root) }
    }

    /// The first host of the fleet of the tests, as new; `None` where the fleet is not up.
    pub(crate) fn of_fleet() -> Option<Self> {
        let fleet = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.cache/fleet");
        let listed = std::fs::read_to_string(fleet.join("hosts")).ok()?;
        let mut words = listed.lines().next()?.splitn(3, ' ').map(str::to_owned);
        let (name, address, key) = (words.next()?, words.next()?, words.next()?);
        if !bed(&["reset", &name]).status.success() {
            return None;
        }
        // The others need Python there; the host is of this machine's release.
        for path in ["/usr/bin/python3", "/usr/bin/python3.11", "/usr/lib/python3", "/usr/lib/python3.11"] {
            bed(&["docker", "cp", path, &format!("{name}:{path}")]);
        }
        let table = format!("connect = \"ssh://root@{address}\"\nhost_key = \"{key}\"\n");
        let journal = ["docker", "exec", &name, "journalctl", "--unit", "ssh", "--boot", "--output", "cat", "--no-pager"];
        let journal: Vec<String> = journal.iter().map(|word| (*word).to_owned()).collect();
        let log = move || {
            let words: Vec<&str> = journal.iter().map(String::as_str).collect();
            String::from_utf8_lossy(&bed(&words).stdout).into_owned()
        };
        let ssh = Ssh { user: "root".to_owned(), address, port: 22, key: fleet.join("keys/user"), log: Box::new(log) };
        Some(Self { table, ssh: Some(ssh), folder: "/srv".to_owned(), root: None })
    }

    /// `folder` as a program on the host that knows no root calls it.
    pub(crate) fn real(&self, folder: &str) -> String {
        let root = self.root.as_ref().map(|root| root.path().display().to_string());
        format!("{}{folder}", root.unwrap_or_default())
    }
}

/// The `n`th address of loopback.
pub(crate) fn loopback(n: usize) -> String {
    format!("127.0.0.{n}")
}

fn bed(arguments: &[&str]) -> std::process::Output {
    let bed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fleet/bed");
    Command::new(bed).args(arguments).output().unwrap()
}
