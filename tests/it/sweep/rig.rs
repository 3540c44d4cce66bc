//! An installation whose every secret is planted, and that keeps everything that it wrote or said.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::platform;
use super::programs::{at_trace, edge, wrap_git};
use super::search::{Needles, quoted, random};
use super::sinks::{Kind, Sampler, Sink, data, folder, objects};
use crate::proxy::Proxy;
use crate::world::{Daemon, Ran, World};

/// The sinks into which the control is leaked.
pub(super) const KINDS: [Kind; 15] = [
    Kind::Stdout,
    Kind::Stderr,
    Kind::Log,
    Kind::Store,
    Kind::Wal,
    Kind::GitObject,
    Kind::GitFile,
    Kind::Data,
    Kind::Clone,
    Kind::Edge,
    Kind::HostState,
    Kind::Arguments,
    Kind::Environment,
    Kind::Git,
    Kind::Temporary,
];

/// The secrets that are rotated, and how each is made.
pub(super) const VALUES: [(&str, fn() -> Vec<u8>); 6] = [
    ("short", || random(8).into_bytes()),
    ("long", || random(3000).into_bytes()),
    ("quoted", || quoted().into_bytes()),
    ("binary", || [&[0xff, 0xfe, 0, 0xc3][..], random(24).as_bytes(), &[0x80, 0]].concat()),
    ("huge", || random(30_011).into_bytes()),
    ("password", || random(16).into_bytes()),
];

const WORKER: &str = r#"export default {
  async fetch(request, env) {
    return new Response(`${env.GREETING} ${env.SHORT.length} ${env.LONG.length} ${env.QUOTED.length}`);
  },
};
"#;

const TEMPLATE: &str = r#"greeting = {{ vars.greeting }}
short = {{ secret("short") }}
long = {{ secret("long") }}
quoted = {{ secret("quoted") }}
binary = {{ secret("binary") }}
huge = {{ secret("huge") }}
password = {{ secret("password") }}
"#;

/// The installation.
pub(super) struct Rig {
    pub(super) world: World,
    /// Leaked on purpose, as a var of the Worker.
    control: String,
    needles: Needles,
    values: BTreeMap<String, Vec<u8>>,
    sinks: Vec<Sink>,
    kept_out: BTreeSet<PathBuf>,
    edge: Child,
    sampler: Option<Sampler>,
}

impl Rig {
    /// The definitions are committed; nothing is applied.
    pub(super) async fn start() -> Self {
        let mut world = World::empty().await;
        // The edge in a process of its own: its log, arguments and environment are sinks.
        world.edge.take().unwrap().stop().await;
        std::fs::remove_dir_all(world.path("edge")).unwrap();
        let token = random(40);
        std::fs::write(world.path("edge-token"), &token).unwrap();
        std::fs::set_permissions(world.path("edge-token"), std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::create_dir(world.path("tmp")).unwrap();
        wrap_git(&world);
        let (edge, address) = edge(&world);
        world.proxy = Proxy::start(address.parse().unwrap()).await;
        let sampler = Some(Sampler::start(world.path("tmp")));
        let control = format!("control{}", random(20));
        let kept_out = ["identity", "edge-token", "edge-process/key"].map(|path| world.path(path)).into();
        let (needles, values, sinks) = Default::default();
        let mut rig = Self { world, control, needles, values, sinks, kept_out, edge, sampler };
        for key in ["identity", "edge-process/key"] {
            let text = std::fs::read_to_string(rig.world.path(key)).unwrap();
            // Without what every identity begins with, which errors explain.
            let line = text.lines().find_map(|line| line.strip_prefix("AGE-SECRET-KEY-1")).unwrap();
            rig.needles.plant(key, line.as_bytes());
        }
        rig.define();
        rig.set("edge-token", token.into_bytes());
        rig.set("digest-key", random(64).into_bytes());
        platform::define(&mut rig);
        rig.rotate();
        rig.world.commit("The first revision");
        rig
    }

    fn define(&self) {
        let Self { world, control, .. } = self;
        world.write("trunkline.toml", "format = 1\n");
        world.write("fleet/hosts.toml", &format!("[host.origin]\nconnect = \"local\"\nroot = {:?}\n", world.path("host")));
        world.write("environments/production/secrets.toml", "");
        world.write("workers/api/index.js", WORKER);
        world.write("files/engine.conf", TEMPLATE);
        world.write(
            "environments/production/production.toml",
            &format!(
                r#"[environment]
digest_key = {{ secret = "digest-key" }}

[edge.local]
endpoint = "{}"
api_token = {{ secret = "edge-token" }}

[worker.api]
on = {{ targets = ["local"] }}
main = "workers/api/index.js"
compatibility_date = "2026-11-01"
routes = [{{ pattern = "api.example.com/*", zone_name = "example.com" }}]
vars = {{ GREETING = "hello", CONTROL = "{control}" }}

[worker.api.bindings]
SHORT = {{ secret = "short" }}
LONG = {{ secret = "long" }}
QUOTED = {{ secret = "quoted" }}

[file.engine]
path = "/etc/engine/engine.conf"
template = "files/engine.conf"
mode = "0640"
vars = {{ greeting = "hello" }}
# validate
"#,
                world.endpoint()
            ),
        );
    }

    pub(super) fn clone(&self) -> PathBuf {
        self.world.path("clone")
    }

    pub(super) fn edge_pid(&self) -> u32 {
        self.edge.id()
    }

    /// The value that a secret has now.
    pub(super) fn value(&self, name: &str) -> Vec<u8> {
        self.values[name].clone()
    }

    /// Files that are left out of the search: they were given secrets by the test.
    pub(super) fn keep_out(&mut self, paths: &[&str]) {
        self.kept_out.extend(paths.iter().map(|path| self.world.path(path)));
    }

    /// Looks for `value` from now on: a secret that no definition holds.
    pub(super) fn plant(&mut self, name: &str, value: &[u8]) {
        self.needles.plant(name, value);
    }

    /// The same of the digests of a whole file that holds secrets.
    pub(super) fn plant_file(&mut self, text: &[u8]) {
        self.needles.plant_digests("the file", text);
    }

    /// Gives a secret a value, by the verb.
    pub(super) fn set(&mut self, name: &str, value: Vec<u8>) {
        self.needles.plant(name, &value);
        let folder = self.clone();
        let arguments = ["secrets", "set", "production", name, "--keep-newline", "--folder", folder.to_str().unwrap()];
        let mut child = self.command(&arguments).stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), &value).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.collect(&arguments, &output);
        self.values.insert(name.to_owned(), value);
    }

    /// Gives every secret another value.
    pub(super) fn rotate(&mut self) {
        for (name, make) in VALUES {
            self.set(name, make());
        }
        let mut text = TEMPLATE.replace("{{ vars.greeting }}", "hello").into_bytes();
        for (name, _) in VALUES {
            let placeholder = format!("{{{{ secret(\"{name}\") }}}}").into_bytes();
            let at = text.windows(placeholder.len()).position(|window| window == placeholder).unwrap();
            text.splice(at..at + placeholder.len(), self.values[name].iter().copied());
        }
        self.plant_file(&text);
        self.set("db-password", random(20).into_bytes());
    }

    /// Another text for the Worker to greet with, committed.
    pub(super) fn change(&self, greeting: &str) {
        let path = "environments/production/production.toml";
        let text = std::fs::read_to_string(self.clone().join(path)).unwrap();
        let line = text.lines().find(|line| line.starts_with("vars = { GREETING")).unwrap();
        let new = format!("vars = {{ GREETING = \"{greeting}\", CONTROL = \"{}\" }}", self.control);
        self.world.edit(path, line, &new);
        self.world.commit(greeting);
    }

    /// What a server may say that repeats its request: the values as they are and as JSON, the header.
    pub(super) fn echo(&self) -> String {
        let texts: Vec<String> = ["short", "long", "quoted"].map(|name| String::from_utf8(self.value(name)).unwrap()).into();
        let bindings: Vec<_> = texts.iter().map(|text| serde_json::json!({ "type": "secret_text", "text": text })).collect();
        let token = String::from_utf8(self.value("edge-token")).unwrap();
        let metadata = serde_json::json!({ "bindings": bindings });
        format!("cannot read {metadata}: {}: authorization: Bearer {token}", texts.join(" "))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        at_trace(&self.world, &mut command);
        command
    }

    /// Runs a verb to its end, and keeps what it said.
    pub(super) fn ran(&mut self, arguments: &[&str]) -> Ran {
        self.ran_with(arguments, &[])
    }

    pub(super) fn ran_with(&mut self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        let output = self.command(arguments).envs(environment.iter().copied()).output().unwrap();
        self.collect(arguments, &output);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // Without the log, so that a failed assertion can be read.
        let err = text(&output.stderr);
        let err = err.lines().filter(|line| !line.contains("TRACE") && !line.contains("DEBUG")).collect::<Vec<_>>().join("\n");
        Ran { status: output.status.code().unwrap_or(-1), out: text(&output.stdout), err }
    }

    /// The same, which must succeed.
    pub(super) fn ok(&mut self, arguments: &[&str]) {
        let ran = self.ran(arguments);
        assert_eq!(ran.status, 0, "{arguments:?}\n{}\n{}", ran.out, ran.err);
    }

    pub(super) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    pub(super) fn collect(&mut self, arguments: &[&str], output: &Output) {
        for (kind, bytes) in [(Kind::Stdout, &output.stdout), (Kind::Stderr, &output.stderr)] {
            self.sinks.push(Sink { kind, place: arguments.join(" "), bytes: bytes.clone() });
        }
    }

    pub(super) fn daemon(&self) -> Daemon {
        self.world.daemon_with(|command| at_trace(&self.world, command))
    }

    /// Every verb that reads.
    pub(super) fn verbs(&mut self) {
        let folder = self.clone();
        let folder = folder.to_str().unwrap();
        for arguments in [
            &["plan"][..],
            &["plan", "--output", "json"],
            &["plan", "--worktree", folder],
            &["status"],
            &["status", "--output", "json"],
            &["history"],
            &["history", "--output", "json"],
            &["history", "production", "--generation", "1"],
            &["history", "production", "--generation", "1", "--output", "json"],
            &["check", folder],
            &["check", folder, "--output", "json"],
            &["secrets", "list", "--folder", folder],
            &["secrets", "list", "--folder", folder, "--output", "json"],
        ] {
            let ran = self.ran(arguments);
            assert!([0, 2].contains(&ran.status), "{arguments:?}: {ran:?}");
        }
    }

    /// The two that say what went wrong.
    pub(super) fn verbs_briefly(&mut self) {
        self.ran(&["status", "--output", "json"]);
        self.ran(&["history"]);
    }

    /// Keeps the store as it is now, its write-ahead log with it.
    pub(super) fn read_data(&mut self) {
        let store = |path: &Path| data(path).filter(|kind| [Kind::Store, Kind::Wal].contains(kind));
        let sinks = folder(&self.world.path("data"), &store);
        self.sinks.extend(sinks);
    }

    /// Leaks the control into every sink into which the var does not bring it; the control.
    pub(super) fn leak(&mut self) -> String {
        let (control, world) = (self.control.clone(), &self.world);
        let append = |path: PathBuf| {
            use std::io::Write as _;
            let file = std::fs::File::options().append(true).create(true).open(&path);
            writeln!(file.unwrap_or_else(|error| panic!("{}: {error}", path.display())), "{control}").unwrap();
        };
        append(world.path("daemon.log"));
        append(world.path("data/scratch"));
        append(world.path("host/var/lib/trunkline/scratch"));
        append(world.path("remote.git/description"));
        append(world.path("tmp/scratch"));
        let mut child = Command::new("sh").args(["-c", "sleep 1", &control]).env("CONTROL", &control).spawn().unwrap();
        child.wait().unwrap();
        let output = Command::new("sh").args(["-c", "echo \"$0\" >&2", &control]).output().unwrap();
        self.collect(&["control"], &output);
        let output = self.command(&[]).args(["--remote", &control, "plan"]).output().unwrap();
        self.collect(&["plan", "of a remote that is called like the control"], &output);
        let git = self.world.path("bin/git");
        let output = Command::new(git).args(["--version", &control]).output().unwrap();
        assert!(!output.stdout.is_empty() || !output.stderr.is_empty());
        control
    }

    /// What was found where it must not be, and the kinds of sink in which the control was found.
    pub(super) fn search(mut self, control: &str) -> (Vec<String>, BTreeSet<Kind>) {
        let sampler = self.sampler.take().unwrap();
        let _ = (self.edge.kill(), self.edge.wait());
        self.sinks.extend(sampler.stop());
        self.read_data();
        // Objects that are packed into deltas are looked at as well.
        self.world.git_in(&self.world.path("remote.git"), &["gc", "--quiet"]);
        for repository in ["remote.git", "clone/.git", "data/repository.git", "data/plan.git"] {
            self.sinks.push(objects(&self.world.path(repository)));
        }
        let root = self.world.path("");
        let classify = |path: &Path| self.classify(path.strip_prefix(&root).unwrap(), path);
        let files = folder(&root, &classify);
        self.sinks.extend(files);

        let mut controls = Needles::default();
        controls.plant("the control", control.as_bytes());
        let (mut hits, mut found, mut in_files) = (BTreeSet::new(), BTreeSet::new(), 0);
        let mut searched = BTreeSet::new();
        for Sink { kind, place, bytes } in &self.sinks {
            if !searched.insert((kind, trunkline::model::Digest::of(bytes))) {
                continue;
            }
            if !controls.search(bytes).is_empty() {
                found.insert(*kind);
            }
            for hit in self.needles.search(bytes) {
                match kind {
                    Kind::HostFile => in_files += 1,
                    Kind::HostState if hit == "the file as sha256" => {}
                    _ => _ = hits.insert(format!("{hit} in {kind:?} {place}")),
                }
            }
        }
        assert!(in_files > 100, "the files on the host hold none of the secrets, so the search sees nothing");
        let bytes: usize = self.sinks.iter().map(|sink| sink.bytes.len()).sum();
        assert!(bytes > 1 << 20, "only {bytes} bytes were searched");
        (hits.into_iter().collect(), found)
    }

    fn classify(&self, path: &Path, whole: &Path) -> Option<Kind> {
        if self.kept_out.contains(whole) {
            return None;
        }
        let text = path.to_str().unwrap();
        let first = path.components().next().unwrap().as_os_str().to_str().unwrap();
        Some(match first {
            "data" => data(path)?,
            "remote.git" => Kind::GitFile,
            "clone" if text.starts_with("clone/.git/") => Kind::GitFile,
            "clone" => Kind::Clone,
            "edge-process" => Kind::Edge,
            "host" if text.contains("/preimages/") || text.starts_with("host/etc/") => {
                let mode = whole.metadata().unwrap().permissions().mode() & 0o7777;
                let expected = if text.starts_with("host/etc/") { 0o640 } else { 0o600 };
                assert_eq!(mode, expected, "{text}");
                Kind::HostFile
            }
            "host" => Kind::HostState,
            "tmp" => Kind::Temporary,
            "git.log" => Kind::Git,
            _ if text.ends_with(".log") => Kind::Log,
            _ => Kind::Other,
        })
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = (self.edge.kill(), self.edge.wait());
    }
}
