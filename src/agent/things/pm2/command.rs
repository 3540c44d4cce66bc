//! PM2, by its command line, as the account whose it is.
//!
//! Where systemd runs the machine, it starts what is to run: neither the hardening of whoever asks (PM2 is Node.js, which
//! writes code as it runs) nor the end of it reaches PM2 and its applications. No shell and no login is between.
//!
//! **Invariant:** what PM2 says of applications holds the values of secrets, and goes into no fault.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde_json::Value as Json;

use crate::agent::accounts::Login;
use crate::agent::call::{Call, Called};
use crate::agent::{Fault, Payload};

/// Where `npm install --global` puts it.
const PLACES: [&str; 2] = ["/usr/local/bin/pm2", "/usr/bin/pm2"];
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long a call may take: instances that say when they are ready are started one after the other.
const PATIENCE: Duration = Duration::from_secs(600);
const MAX_SAVED_BYTES: u64 = 32 * 1024 * 1024;

/// The PM2 of an account.
pub(super) struct Pm2 {
    pub(super) login: Login,
    program: String,
}

/// A process of PM2: an instance of an application.
#[derive(Debug, Clone)]
pub(super) struct Process(Json);

impl Process {
    /// A property of it.
    pub(super) fn at(&self, key: &str) -> Option<&Json> {
        self.0.get(key)
    }

    pub(super) fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Json::as_str).unwrap_or_default()
    }

    pub(super) fn number(&self, key: &str) -> Option<i64> {
        self.0.get(key).and_then(Json::as_i64)
    }

    pub(super) fn name(&self) -> &str {
        self.text("name")
    }

    /// A variable that it was started with.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.0.get("env")?.get(name)?.as_str()
    }

    /// Whether it is not started again by itself, and ended well.
    pub(super) fn is_done(&self) -> bool {
        self.at("autorestart") == Some(&Json::Bool(false)) && self.number("exit_code") == Some(0)
    }

    /// Tells one run from the next.
    pub(super) fn run(&self) -> String {
        let number = |key: &str| self.number(key).unwrap_or(-1);
        format!("{} {} {} {}", number("pm_id"), number("created_at"), number("pm_uptime"), number("restart_time"))
    }

    #[cfg(test)]
    pub(super) fn sample(name: &str, status: &str) -> Self {
        Self(serde_json::json!({ "name": name, "status": status, "pm_id": 0, "env": { "A": "b" } }))
    }
}

impl Pm2 {
    /// The PM2 of an account, by `program` or where it is usually; neither need be there.
    pub(super) fn of(login: Login, program: Option<&str>) -> Self {
        let program = match program {
            Some(program) => program,
            None => PLACES.into_iter().find(|place| Path::new(place).exists()).unwrap_or(PLACES[0]),
        };
        Self { login, program: program.to_owned() }
    }

    /// Sees to it that PM2 is installed.
    pub(super) fn installed(&self) -> Result<(), Fault> {
        if Path::new(&self.program).exists() {
            return Ok(());
        }
        Err(Fault::new(format!("there is no `{}` on this host", self.program))
            .hint("install it there with `npm install --global pm2`, or say where it is by the key `pm2`"))
    }

    fn home(&self) -> String {
        format!("{}/.pm2", self.login.home)
    }

    /// `node` is found where this program is first: both may come from one folder.
    pub(super) fn path(&self) -> String {
        let folder = Path::new(&self.program).parent().and_then(Path::to_str).unwrap_or("/");
        if PATH.split(':').any(|known| known == folder) { PATH.to_owned() } else { format!("{folder}:{PATH}") }
    }

    fn variables(&self) -> [(&'static str, String); 6] {
        [
            ("HOME", self.login.home.clone()),
            ("USER", self.login.name.clone()),
            ("LOGNAME", self.login.name.clone()),
            ("PATH", self.path()),
            ("PM2_HOME", self.home()),
            // It would ask the network.
            ("PM2_DISABLE_VERSION_CHECK", "true".to_owned()),
        ]
    }

    fn is_own(&self) -> bool {
        rustix::process::geteuid().as_raw() == self.login.uid
    }

    /// A program of the system, as the account.
    pub(super) fn as_account(&self, program: &str) -> Result<Call, Fault> {
        let call = match (self.is_own(), rustix::process::geteuid().is_root()) {
            (true, _) => Call::new(program),
            (false, true) => {
                let (uid, gid) = (self.login.uid, self.login.gid);
                let ids = [format!("--reuid={uid}"), format!("--regid={gid}"), "--init-groups".into(), "--".into()];
                Call::new("setpriv").with(ids).with([program])
            }
            (false, false) => {
                let name = &self.login.name;
                return Err(Fault::new(format!("only root can be `{name}`, and the executor is somebody else here"))
                    .hint(format!("let the executor be root, or run the application as its own account instead of `{name}`")));
            }
        };
        Ok(self.variables().into_iter().fold(call, |call, (name, value)| call.variable(name, value)))
    }

    fn by_systemd(&self) -> Option<Call> {
        let there = rustix::process::geteuid().is_root() && Path::new("/run/systemd/system").is_dir();
        let call = || {
            let variables = self.variables().map(|(name, value)| format!("--setenv={name}={value}"));
            let call = Call::new("systemd-run").with(["--quiet", "--collect", "--working-directory=/"]).with(variables);
            // Each look would be two lines of the journal.
            call.with(["--property=LogLevelMax=notice".to_owned(), format!("--uid={}", self.login.name)])
        };
        there.then(call)
    }

    fn call(&self) -> Result<Call, Fault> {
        self.installed()?;
        let call = match self.by_systemd() {
            Some(call) => {
                let most = format!("--property=RuntimeMaxSec={}", PATIENCE.as_secs() + 10);
                call.with(["--wait", "--pipe", "--service-type=exec", &most, "--", &self.program])
            }
            None => self.as_account(&self.program)?,
        };
        Ok(call.patience(PATIENCE))
    }

    /// Tells PM2 something; `what` says what could not be done.
    pub(super) fn tell(&self, words: &[&str], what: &str) -> Result<(), Fault> {
        self.ended(self.call()?.with(words.iter().copied()), what, true).map(drop)
    }

    /// Starts what is declared; nothing that PM2 says of it is shown where secrets are in it.
    pub(super) fn start(&self, declared: Payload, secret: bool, what: &str) -> Result<(), Fault> {
        self.ended(self.call()?.with(["start", "-"]).input(declared), what, !secret).map(drop)
    }

    fn ended(&self, call: Call, what: &str, shown: bool) -> Result<Called, Fault> {
        let called = call.run().map_err(|not_called| not_called.fault(&self.program, what))?;
        match (called.status.success(), shown) {
            (true, _) => Ok(called),
            // What it lists on its output is nobody's business.
            (false, true) => Err(Called { out: String::new(), ..called }.fault(what)),
            (false, false) => Err(Fault { cause: Some(format!("`pm2` ended with {}", called.status)), ..Fault::new(what) }),
        }
    }

    fn runs(&self) -> bool {
        UnixStream::connect(format!("{}/rpc.sock", self.home())).is_ok()
    }

    /// What there is: of the daemon, or, where none runs, what it has saved and would bring back, stopped.
    pub(super) fn list(&self) -> Result<Vec<Process>, Fault> {
        let what = format!("the PM2 of `{}` cannot be asked", self.login.name);
        if !self.runs() {
            return self.saved();
        }
        let called = self.ended(self.call()?.with(["jlist"]), &what, true).map_err(|fault| Fault { transient: true, ..fault })?;
        // What it has to say to people comes before.
        let line = called.out.lines().rev().find(|line| line.starts_with('[')).unwrap_or_default();
        let unreadable = || Fault::system(&*what, "what it lists is not what PM2 lists");
        let listed: Vec<Json> = serde_json::from_str(line).map_err(|_| unreadable())?;
        Ok(listed.into_iter().filter_map(|mut process| Some(Process(process.get_mut("pm2_env")?.take()))).collect())
    }

    fn saved(&self) -> Result<Vec<Process>, Fault> {
        use std::io::Read as _;
        let path = format!("{}/dump.pm2", self.home());
        let failed = |error: &dyn std::fmt::Display| {
            Fault::system(format!("what the PM2 of `{}` has saved cannot be read", self.login.name), error.to_string())
        };
        // The account could have put anything there: only a file of its own is read, and none is waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(file) => std::fs::File::from(file),
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(errno) => return Err(failed(&errno)),
        };
        let metadata = file.metadata().map_err(|error| failed(&error))?;
        if !metadata.is_file() || metadata.uid() != self.login.uid || metadata.len() > MAX_SAVED_BYTES {
            return Err(failed(&"it is no file of the account's own, or too long"));
        }
        let mut bytes = Vec::new();
        file.take(MAX_SAVED_BYTES).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        let saved: Vec<Json> = serde_json::from_slice(&bytes).map_err(|_| failed(&"it is not what PM2 saves"))?;
        let stopped = |mut process: Json| {
            process.as_object_mut()?.insert("status".to_owned(), "stopped".into());
            Some(Process(process))
        };
        Ok(saved.into_iter().filter_map(stopped).collect())
    }

    /// Sees to it that the daemon runs, with all that it had saved: a unit of `pm2 startup` starts it, or else systemd in a
    /// unit of its own, which whoever asks here does not take down with it.
    pub(super) fn ensure(&self) -> Result<(), Fault> {
        if self.runs() {
            return Ok(());
        }
        let name = &self.login.name;
        let what = format!("the PM2 of `{name}` cannot be started");
        let call = match self.by_systemd() {
            Some(call) => {
                let unit = format!("pm2-{name}.service");
                let shown = Call::new("systemctl").with(["show", "--property=LoadState", "--value", "--", &unit]).run();
                if shown.is_ok_and(|called| called.out.trim() == "loaded") {
                    Call::new("systemctl").with(["restart", "--", &unit])
                } else {
                    let own = format!("--unit=trunkline-pm2-{name}.service");
                    let file = format!("--property=PIDFile={}/pm2.pid", self.home());
                    let limits = ["--property=LimitNOFILE=infinity", "--property=TasksMax=infinity"];
                    call.with([own.as_str(), "--service-type=forking", &file]).with(limits).with([
                        "--",
                        &self.program,
                        "resurrect",
                    ])
                }
            }
            None => self.as_account(&self.program)?.with(["resurrect"]),
        };
        self.ended(call.patience(PATIENCE), &what, true)?;
        if self.runs() { Ok(()) } else { Err(Fault::system(what, "it does not answer at `~/.pm2/rpc.sock`")) }
    }

    /// Saves what runs, so that `pm2 resurrect` brings it back. Variables are in it: nobody else may read it.
    pub(super) fn save(&self) -> Result<(), Fault> {
        let what = format!("what the PM2 of `{}` is to bring back after a reboot cannot be saved", self.login.name);
        for name in ["dump.pm2", "dump.pm2.bak"] {
            let path = format!("{}/{name}", self.home());
            let (program, words) = match std::fs::symlink_metadata(&path) {
                Ok(_) => ("chmod", ["600", "--", &path].to_vec()),
                Err(_) => ("install", ["-m", "600", "-T", "--", "/dev/null", &path].to_vec()),
            };
            self.as_account(program)?.with(words).succeed(&what)?;
        }
        self.tell(&["save", "--force"], &what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_of_the_account_itself_is_read_for_what_pm2_saved() {
        let home = tempfile::tempdir().unwrap();
        let saved = home.path().join(".pm2/dump.pm2");
        std::fs::create_dir(home.path().join(".pm2")).unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let of = |uid: u32| {
            let home = home.path().display().to_string();
            Pm2::of(Login { name: "deploy".to_owned(), uid, gid: 0, home }, None).list()
        };
        assert!(of(uid).unwrap().is_empty(), "nothing was saved");
        std::fs::write(&saved, r#"[{"name":"api","status":"online"}]"#).unwrap();
        assert_eq!(of(uid).unwrap()[0].text("status"), "stopped");
        assert!(of(uid + 1).is_err(), "it is somebody else's");
        std::fs::rename(&saved, home.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(home.path().join("elsewhere"), &saved).unwrap();
        assert!(of(uid).is_err(), "no link is followed");
        std::fs::remove_file(&saved).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &saved, Mode::RWXU).unwrap();
        assert!(of(uid).is_err(), "nobody is waited for");
    }
}
