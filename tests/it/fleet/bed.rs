//! The hosts of `tests/fleet/bed`: real machines as far as a daemon can tell.
//!
//! A test that asks for a host has it alone until it drops it, as new.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

/// A host of the fleet.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    /// Its public key: `ssh-ed25519 AAAA…`.
    pub(crate) key: String,
    _lease: File,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.cache/fleet")
}

/// The private key that opens `root`, `deploy` (who may use sudo) and `plain` (who may not).
pub(crate) fn user_key() -> PathBuf {
    folder().join("keys/user")
}

impl Host {
    /// Any host that no other test has, made anew.
    pub(crate) fn lease() -> Self {
        Self::leases(1).remove(0)
    }

    /// So many hosts, all at once: two tests that want several never wait for each other.
    pub(crate) fn leases(count: usize) -> Vec<Self> {
        let listed = std::fs::read_to_string(folder().join("hosts"))
            .unwrap_or_else(|_| panic!("the fleet is not up: run `tests/fleet/bed up` (as root), or the whole of `tests/run`"));
        let leases = folder().join("leases");
        std::fs::create_dir_all(&leases).unwrap();
        assert!(listed.lines().count() >= count, "the fleet has too few hosts: run `tests/fleet/bed down`, then `up`");
        let hosts = loop {
            let turn = File::create(leases.join("turn")).unwrap();
            flock(&turn, FlockOperation::LockExclusive).unwrap();
            let hosts: Vec<Self> = listed.lines().filter_map(|line| Self::take(&leases, line)).take(count).collect();
            if hosts.len() == count {
                break hosts;
            }
            drop((hosts, turn));
            std::thread::sleep(Duration::from_millis(100));
        };
        let names = hosts.iter().map(|host| host.name.as_str());
        let made = bed().arg("reset").args(names).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        hosts
    }

    fn take(leases: &Path, line: &str) -> Option<Self> {
        let mut words = line.splitn(3, ' ');
        let (name, address, key) = (words.next()?, words.next()?, words.next()?);
        let lease = File::create(leases.join(name)).unwrap();
        flock(&lease, FlockOperation::NonBlockingLockExclusive).ok()?;
        Some(Self { name: name.to_owned(), address: address.parse().unwrap(), key: key.to_owned(), _lease: lease })
    }

    /// Runs a command on the host as root, not by way of ssh; its standard output, trimmed.
    pub(crate) fn run(&self, argv: &[&str]) -> String {
        let output = self.try_run(argv);
        assert!(output.status.success(), "{argv:?} on {}: {}", self.name, String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The same, whatever it exits with.
    pub(crate) fn try_run(&self, argv: &[&str]) -> Output {
        docker(&[&["exec", self.name.as_str()], argv].concat())
    }

    /// The content of a file on the host.
    pub(crate) fn read(&self, path: &str) -> String {
        self.run(&["cat", "--", path])
    }

    /// Writes a file on the host, as a person at its console would.
    pub(crate) fn write(&self, path: &str, text: &str) {
        self.run(&["sh", "-c", "printf '%s' \"$1\" > \"$2\"", "sh", text, path]);
    }

    /// Copies a file of this machine to the host.
    pub(crate) fn put(&self, from: &Path, to: &str) {
        let output = docker(&["cp", from.to_str().unwrap(), &format!("{}:{to}", self.name)]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Where the host reaches this machine.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        let [a, b, c, _] = self.address.octets();
        Ipv4Addr::new(a, b, c, 1)
    }

    /// Pulls the network cable, or plugs it in.
    pub(crate) fn plug(&self, plugged: bool) {
        let network = docker(&["network", "ls", "--format", "{{ .Name }}", "--filter", "name=trunkline-"]);
        let network = String::from_utf8(network.stdout).unwrap();
        let address = self.address.to_string();
        let output = match plugged {
            true => docker(&["network", "connect", "--ip", &address, network.trim(), &self.name]),
            false => docker(&["network", "disconnect", "-f", network.trim(), &self.name]),
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Turns the host off and on again, and waits until its sshd answers.
    pub(crate) fn restart(&self) {
        let output = docker(&["restart", "-t", "5", &self.name]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.wait();
    }

    /// A new machine with the same name, address and key: nothing that was on it is there.
    pub(crate) fn replace(&self) {
        let made = bed().arg("reset").arg(&self.name).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// How many commands came in over SSH since the host was started.
    pub(crate) fn commands(&self) -> usize {
        let journal = self.run(&["journalctl", "--unit", "ssh", "--boot", "--output", "cat", "--no-pager"]);
        journal.lines().filter(|line| line.starts_with("Starting session: command")).count()
    }

    /// The table of a definition, without its heading.
    pub(crate) fn table(&self, user: &str) -> String {
        format!("connect = \"ssh://{user}@{}\"\nhost_key = \"{}\"\n", self.address, self.key)
    }

    fn wait(&self) {
        for _ in 0..300 {
            if std::net::TcpStream::connect_timeout(&(self.address, 22).into(), Duration::from_millis(200)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{} does not come back", self.name);
    }
}

fn bed() -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fleet/bed"));
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

pub(crate) fn docker(arguments: &[&str]) -> Output {
    bed().arg("docker").args(arguments).output().unwrap()
}
