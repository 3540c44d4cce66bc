//! A host that dials out: what is sent to its agent, and what it keeps, is where it belongs and in no log, argument, store,
//! temporary file or record; neither is a key or a token of the connection itself.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use trunkline::link::Token;

use super::programs::{at_trace, wrap_git};
use super::search::{Needles, quoted, random};
use super::sinks::{Kind, Sampler, Sink, folder, objects};
use crate::world::World;

const PRODUCTION: &str = "environments/production/production.toml";
const CONF: &str = "etc/engine/engine.conf";

/// An installation whose host dials out, with everything in the logs.
struct Scene {
    world: World,
    address: String,
    needles: Needles,
    sinks: Vec<Sink>,
    values: Vec<String>,
}

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

impl Scene {
    async fn new() -> Self {
        let world = World::empty().await;
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        std::fs::create_dir(world.path("tmp")).unwrap();
        std::fs::create_dir(world.path("machine")).unwrap();
        wrap_git(&world);
        std::fs::write(world.path("daemon.toml"), format!("[agents]\nlisten = \"{address}\"\naddress = \"{address}\"\n"))
            .unwrap();
        let policy = format!("roots = [\"/etc\"]\nheal_after = \"1s\"\nroot = {:?}\n", world.path("machine"));
        std::fs::write(world.path("policy.toml"), policy).unwrap();
        world.write("trunkline.toml", "format = 1\n");
        world.write("fleet/hosts.toml", "[host.fra1]\nconnect = \"agent\"\n");
        world.write("environments/production/secrets.toml", "");
        world.write(
            "files/engine.conf",
            "short = {{ secret(\"short\") }}\nlong = {{ secret(\"long\") }}\nquoted = {{ secret(\"quoted\") }}\n",
        );
        world.write(
            PRODUCTION,
            "[environment]\ndigest_key = { secret = \"digest-key\" }\n\n[environment.sync]\ninterval = \"1s\"\n\n[file.engine]\n\
             path = \"/etc/engine/engine.conf\"\ntemplate = \"files/engine.conf\"\nmode = \"0640\"\n# validate\n",
        );
        let (needles, sinks, values) = Default::default();
        let mut scene = Self { world, address, needles, sinks, values };
        let key = std::fs::read_to_string(scene.world.path("identity")).unwrap();
        scene.needles.plant("identity", key.lines().find_map(|line| line.strip_prefix("AGE-SECRET-KEY-1")).unwrap().as_bytes());
        scene.set("digest-key", &random(64));
        scene.rotate();
        scene.world.commit("A host that dials out");
        scene
    }

    /// A value by the verb, which is not collected: it is given the value.
    fn set(&mut self, name: &str, value: &str) {
        self.needles.plant(name, value.as_bytes());
        self.values.push(value.to_owned());
        let clone = self.world.path("clone");
        let arguments = ["secrets", "set", "production", name, "--keep-newline", "--folder", clone.to_str().unwrap()];
        let mut child = self.command(&arguments).stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), value.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.collect(&arguments, &output);
    }

    fn rotate(&mut self) {
        for (name, value) in [("short", random(12)), ("long", random(3000)), ("quoted", quoted())] {
            self.set(name, &value);
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        at_trace(&self.world, &mut command);
        command.env("TRUNKLINE_CONFIG", self.world.path("daemon.toml"));
        command
    }

    fn collect(&mut self, arguments: &[&str], output: &Output) {
        for (kind, bytes) in [(Kind::Stdout, &output.stdout), (Kind::Stderr, &output.stderr)] {
            self.sinks.push(Sink { kind, place: arguments.join(" "), bytes: bytes.clone() });
        }
    }

    fn ran(&mut self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        self.collect(arguments, &output);
        output
    }

    /// A token, which is for the eyes of who asked for it, in a file for the host.
    fn token(&mut self) -> PathBuf {
        let output = self.command(&["agent", "token", "fra1"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.sinks.push(Sink { kind: Kind::Stderr, place: "agent token".to_owned(), bytes: output.stderr });
        let line = String::from_utf8(output.stdout).unwrap();
        let secret = Token::parse(&line).unwrap().secret.expose().to_vec();
        self.needles.plant("token", &secret);
        // As the line has it, and as it travels.
        self.needles.plant("token, written", STANDARD.encode(&secret).as_bytes());
        let file = self.world.path("token");
        std::fs::write(&file, line).unwrap();
        file
    }

    /// Looks for a private key: for what is private of it in its second line. The rest is the same for all, or public.
    fn plant_key(&mut self, name: &str, pem: &str) {
        let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(&body).unwrap();
        // PKCS #8 of a key on P-256: the octets of the private number, 32 of them, come after 36 others.
        assert_eq!(der[34..36], [0x04, 0x20], "{name} is another sort of key");
        self.needles.plant(name, &body.as_bytes()[64..88]);
    }

    fn agent(&self) -> Agent {
        let log = std::fs::File::options().create(true).append(true).open(self.world.path("agent.log")).unwrap();
        let mut command = self.command(&["agent", "run", "--policy"]);
        command.arg(self.world.path("policy.toml")).arg("--state").arg(self.world.path("state"));
        Agent(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    fn daemon(&self) -> crate::world::Daemon {
        let settings = self.world.path("daemon.toml");
        self.world.daemon_with(|command| {
            at_trace(&self.world, command);
            command.env("TRUNKLINE_CONFIG", settings);
        })
    }

    fn conf(&self) -> PathBuf {
        self.world.path("machine").join(CONF)
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(60), "not so after a minute: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Which secrets may be in a file of the installation; `None` leaves the file out, since the test gave it a secret.
    fn may_hold(&self, path: &Path) -> Option<(Kind, bool)> {
        let text = path.strip_prefix(self.world.path("")).unwrap().to_str().unwrap().to_owned();
        let private = || path.metadata().unwrap().permissions().mode() & 0o077 == 0;
        Some(match text.as_str() {
            "identity" | "token" => return None,
            _ if text.starts_with("machine/etc/") => (Kind::HostFile, true),
            // What was replaced, what is healed while the daemon is away, and the keys of the two ends.
            _ if text.starts_with("machine/var/lib/trunkline/") && text.contains("/preimages/") => (Kind::HostFile, private()),
            _ if text.starts_with("state/kept/") => (Kind::HostFile, private()),
            "state/agent.json" | "data/agents/ca.key" => (Kind::HostFile, private()),
            _ if text.ends_with(".log") => (Kind::Log, false),
            _ => (Kind::Other, false),
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_planted_secret_leaves_its_place_on_the_way_to_an_agent_and_on_its_host() {
    let mut scene = Scene::new().await;
    let sampler = Sampler::start(scene.world.path("tmp"));
    let token = scene.token();
    let authority = std::fs::read_to_string(scene.world.path("data/agents/ca.key")).unwrap();
    scene.plant_key("the authority's key", &authority);
    let mut daemon = scene.daemon();
    scene.until("listening", || std::net::TcpStream::connect(&scene.address).is_ok()).await;
    let state = scene.world.path("state");
    let enrol = ["agent", "enrol", "--token-file", token.to_str().unwrap(), "--state", state.to_str().unwrap()];
    assert!(scene.ran(&enrol).status.success());
    // A token that was used, and one that was changed on the way.
    assert!(!scene.ran(&enrol).status.success());
    let home: serde_json::Value = serde_json::from_slice(&std::fs::read(state.join("agent.json")).unwrap()).unwrap();
    let key = STANDARD.decode(home["key"].as_str().unwrap()).unwrap();
    scene.plant_key("the agent's key", std::str::from_utf8(&key).unwrap());

    let agent = scene.agent();
    scene.world.wait_ready("production", &scene.world.head()).await;
    scene.rotate();
    let second = scene.world.commit("Other values");
    scene.world.wait_ready("production", &second).await;
    for arguments in [&["status"][..], &["history"], &["agent", "list"], &["plan"], &["status", "--output", "json"]] {
        scene.ran(arguments);
    }
    // What does not pass: a command that repeats what it was given, and a path that the host does not allow.
    for (from, to, told) in [
        ("# validate", "validate = [\"sh\", \"-c\", \"cat $0; cat $0 >&2; exit 1\", \"{}\"]", "did not pass"),
        ("path = \"/etc/engine/engine.conf\"", "path = \"/srv/engine.conf\"", "outside the folders"),
    ] {
        scene.world.edit(PRODUCTION, from, to);
        scene.rotate();
        scene.world.commit("A fault");
        scene.world.wait("production", |status| status["message"].as_str().is_some_and(|message| message.contains(told))).await;
        scene.ran(&["status", "--output", "json"]);
        scene.world.edit(PRODUCTION, to, from);
        scene.rotate();
        let good = scene.world.commit("Put right");
        scene.world.wait_ready("production", &good).await;
    }
    // While the daemon is away the agent heals from what it keeps; killed, and started again.
    daemon.kill();
    let whole = std::fs::read(scene.conf()).unwrap();
    for _ in 0..2 {
        std::fs::write(scene.conf(), "edited\n").unwrap();
        scene.until("healed", || std::fs::read(scene.conf()).is_ok_and(|bytes| bytes == whole)).await;
    }
    drop(agent);
    std::fs::write(scene.conf(), "edited\n").unwrap();
    let again = scene.agent();
    scene.until("healed", || std::fs::read(scene.conf()).is_ok_and(|bytes| bytes == whole)).await;
    let mut daemon = scene.daemon();
    scene.world.wait_ready("production", &scene.world.head()).await;
    assert_eq!(daemon.terminate(), 0, "{}", scene.world.log());
    drop(again);

    scene.sinks.extend(sampler.stop());
    for repository in ["remote.git", "clone/.git", "data/repository.git"] {
        scene.sinks.push(objects(&scene.world.path(repository)));
    }
    let files = folder(&scene.world.path(""), &|path| scene.may_hold(path).map(|(kind, _)| kind));
    let (mut hits, mut belonging) = (BTreeSet::new(), BTreeSet::new());
    for Sink { kind, place, bytes } in scene.sinks.iter().chain(&files) {
        let belongs =
            files.iter().any(|file| file.place == *place) && scene.may_hold(Path::new(place)).is_some_and(|(_, may)| may);
        for hit in scene.needles.search(bytes) {
            match place.rsplit('/').next() {
                _ if belongs => _ = belonging.insert(place.clone()),
                // Of a token the register has the digest: what it is a digest of, nobody guesses.
                Some("register.json") if hit == "token as sha256" => {}
                _ => _ = hits.insert(format!("{hit} in {kind:?} {place}")),
            }
        }
    }
    assert!(hits.is_empty(), "secrets were found:\n{}", hits.into_iter().collect::<Vec<_>>().join("\n"));
    // The search sees what is there, and the logs tell everything.
    for part in ["/etc/engine/engine.conf", "/state/kept/", "/preimages/", "/state/agent.json", "/agents/ca.key"] {
        assert!(belonging.iter().any(|place| place.contains(part)), "nothing was found in {part}: {belonging:?}");
    }
    for (log, line) in [("daemon.log", "An agent connected."), ("agent.log", "Connected."), ("agent.log", "Put right")] {
        let text = std::fs::read_to_string(scene.world.path(log)).unwrap();
        assert!(text.contains(line), "{log} does not say {line}");
    }
    assert!(scene.values.len() > 15);
}
