//! A real sshd on loopback, which lets the user who runs the tests log in to the machine that they run on.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use trunkline::model::{Connect, HostTarget, SshTarget};

pub(crate) struct Sshd {
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
    process: Child,
}

impl Sshd {
    pub(crate) fn start() -> Self {
        Self::listening(&["127.0.0.1".to_owned()])
    }

    /// At addresses of loopback.
    pub(crate) fn listening(addresses: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["host", "user", "other"] {
            keygen(&folder.path().join(name));
        }
        std::fs::copy(folder.path().join("user.pub"), folder.path().join("authorized")).unwrap();
        // A home of its own: what start-up files this machine's user has is none of the tests' business.
        std::fs::create_dir(folder.path().join("home")).unwrap();
        // Where an sshd of root insists on a folder of its own.
        let _ = std::fs::create_dir_all("/run/sshd");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let listen: String = addresses.iter().map(|address| format!("ListenAddress {address}\n")).collect();
        let config = format!(
            "{listen}Port {port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nLogLevel VERBOSE\n\
             MaxStartups 100:30:200\nMaxSessions 100\nSubsystem sftp internal-sftp\nSetEnv HOME={}\n",
            path("host"),
            path("authorized"),
            path("home")
        );
        std::fs::write(folder.path().join("config"), config).unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        command.arg("-D").arg("-f").arg(folder.path().join("config")).arg("-E").arg(folder.path().join("log"));
        let process = command.stdin(Stdio::null()).spawn().expect("openssh-server is not installed: run `tests/run`");
        for _ in 0..100 {
            if std::net::TcpStream::connect((addresses[0].as_str(), port)).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { folder, port, process }
    }

    /// The private key that it takes.
    pub(crate) fn user_key(&self) -> PathBuf {
        self.folder.path().join("user")
    }

    /// The public key of a name of `host`, `user` and `other`.
    pub(crate) fn public(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.folder.path().join(name).with_extension("pub")).unwrap();
        text.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    pub(crate) fn user(&self) -> String {
        let output = Command::new("id").arg("-un").output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Where the executor is put, and what it knows.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn target(&self, root: &Path) -> HostTarget {
        let ssh = SshTarget {
            user: Some(self.user()),
            host: "127.0.0.1".to_owned(),
            port: Some(self.port),
            host_key: Some(self.public("host")),
            elevate: false,
            state: self.state(),
        };
        HostTarget { connect: Connect::Ssh(ssh), root: Some(root.to_owned()), offline: Default::default() }
    }

    /// How many commands were run, of all connections.
    pub(crate) fn commands(&self) -> usize {
        self.log().lines().filter(|line| line.starts_with("Starting session: command")).count()
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.log().lines().filter(|line| line.starts_with("Accepted publickey")).count()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The executors that are on the host.
    pub(crate) fn executors(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.state().join(".bin")) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(path).status();
    assert!(made.unwrap().success());
}
