//! The daemon and the edge as systemd runs them: by the lines of the shipped units, with their words to the service manager.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use trunkline::settings::{Overrides, load};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The values of a directive of a unit, in their order.
fn directive(unit: &str, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("systemd").join(unit)).unwrap();
    text.lines().filter_map(|line| line.strip_prefix(&format!("{name}="))).map(str::to_owned).collect()
}

/// A service that was started as its unit says, in a folder of the test.
struct Service {
    child: Child,
    manager: UnixDatagram,
    folder: TempDir,
}

impl Service {
    /// Starts `unit` with every path of the system moved into a folder, every port free, and `watchdog` between pings.
    fn start(unit: &str, prepare: impl FnOnce(&Path), watchdog: Duration) -> Self {
        let folder = TempDir::new().unwrap();
        for name in ["etc", "state", "credentials"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        prepare(folder.path());
        let at = |name: &str| folder.path().join(name).display().to_string();
        let moved =
            |text: &str| text.replace("/etc/trunkline", &at("etc")).replace("%S", &at("state")).replace("%d", &at("credentials"));
        let line = moved(&directive(unit, "ExecStart")[0]);
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], "/usr/bin/trunkline");
        let socket = folder.path().join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
        command.args(words[1..].iter().map(|word| match word.strip_prefix("127.0.0.1:") {
            Some(_) => "127.0.0.1:0",
            None => word,
        }));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", "/");
        command.env("NOTIFY_SOCKET", &socket).env("CREDENTIALS_DIRECTORY", at("credentials"));
        command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        for variable in directive(unit, "Environment") {
            let (name, value) = variable.split_once('=').unwrap();
            command.env(name, moved(value));
        }
        let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        Self { child, manager, folder }
    }

    /// What it says next.
    fn says(&mut self) -> String {
        let mut buffer = [0; 512];
        match self.manager.recv(&mut buffer) {
            Ok(length) => String::from_utf8_lossy(&buffer[..length]).trim().to_owned(),
            Err(error) => {
                let _ = self.child.kill();
                let mut said = String::new();
                std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut said).unwrap();
                panic!("it says nothing ({error}): {said}");
            }
        }
    }

    /// What it says next, pings aside.
    fn says_beside_pings(&mut self) -> String {
        loop {
            let said = self.says();
            if said != "WATCHDOG=1" {
                return said;
            }
        }
    }

    /// Asks it to stop; it says so, and ends well.
    fn stop(mut self) {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
        assert_eq!(self.says_beside_pings(), "STOPPING=1");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Settings with a repository that has no commit yet.
fn daemon(folder: &Path) {
    let remote = folder.join("remote.git");
    let made = Command::new("git").args(["init", "--quiet", "--bare"]).arg(&remote).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let text = format!("[repository]\nremote = \"{}\"\n", remote.display());
    std::fs::write(folder.join("etc/daemon.toml"), text).unwrap();
}

#[test]
fn the_daemon_starts_by_its_unit_pings_the_watchdog_and_says_when_it_stops() {
    let mut service = Service::start("trunkline.service", daemon, Duration::from_millis(600));
    assert_eq!(service.says_beside_pings(), "READY=1");
    let since = Instant::now();
    for _ in 0..4 {
        assert_eq!(service.says(), "WATCHDOG=1");
    }
    let took = since.elapsed();
    assert!(took > Duration::from_millis(500) && took < Duration::from_secs(60), "four pings in {took:?}");
    assert!(service.folder.path().join("state/trunkline").is_dir(), "the state is not where the unit keeps it");
    service.stop();
}

#[test]
fn the_edge_starts_by_its_unit_and_says_when_it_stops() {
    let prepare = |folder: &Path| std::fs::write(folder.join("credentials/edge-token"), "a long random text").unwrap();
    let mut service = Service::start("trunkline-edge.service", prepare, Duration::from_secs(3600));
    assert_eq!(service.says(), "READY=1");
    assert!(service.folder.path().join("state/trunkline-edge").is_dir());
    service.stop();
}

/// The control: a line that the program does not know ends it, and nothing is said.
#[test]
fn a_unit_that_the_program_does_not_know_is_found() {
    let output = Command::new(env!("CARGO_BIN_EXE_trunkline")).args(["edge", "--no-such-flag"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
}

/// The blocks of TOML in a page that are daemon settings.
fn settings_in(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let blocks = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.filter(|block| block.contains("[repository]")).collect()
}

#[test]
fn the_settings_that_the_pages_show_are_settings() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("daemon.toml");
    let read = |text: &str| {
        std::fs::write(&file, text).unwrap();
        load(Some(&file), PathBuf::from("/var/lib/trunkline"), Overrides::default())
    };
    for page in ["README.md", "systemd/README.md"] {
        let shown = settings_in(page);
        assert_eq!(shown.len(), 1, "{page}");
        let settings = read(&shown[0]).unwrap_or_else(|error| panic!("{page}: {error:?}"));
        assert_eq!(settings.data, Path::new("/var/lib/trunkline"), "{page}");
        assert!(settings.remote.is_some_and(|remote| remote.starts_with("https://")), "{page}");
        assert!(read(&shown[0].replace("poll", "pol")).is_err(), "a misspelt key is not found");
    }
}
