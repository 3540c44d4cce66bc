//! Hosts that dial out: enrolment, what travels, renewal, revocation, and what the host's own policy keeps away. The daemon and
//! the agents are processes, as they are in production; only the network is loopback.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::{Daemon, World};

/// An installation that listens for agents, with one environment on the host `fra1`.
struct Fleet {
    world: World,
    address: String,
}

/// An agent, running; killed when it is dropped.
struct Agent(Child);

impl Agent {
    /// The status with which it ends by itself; one that runs on is a failure and no wait without end.
    fn ended(&mut self) -> Option<i32> {
        for _ in 0..1200 {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the agent runs on");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Fleet {
    async fn new() -> Self {
        let world = World::empty().await;
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let settings = format!("[agents]\nlisten = \"{address}\"\naddress = \"{address}\"\n");
        std::fs::write(world.path("daemon.toml"), settings).unwrap();
        world.write("trunkline.toml", "format = 1\n");
        world.write("fleet/hosts.toml", "[host.fra1]\nconnect = \"agent\"\nlabels = { role = \"origin\" }\n");
        world.write(
            "environments/production.toml",
            "[environment]\n\n[environment.sync]\ninterval = \"1s\"\n\n[file.motd]\npath = \"/etc/motd\"\ncontent = \"one\\n\"\n",
        );
        world.commit("A host that dials out");
        Self { world, address }
    }

    fn trunkline(&self, arguments: &[&str]) -> crate::world::Ran {
        let mut command = self.world.command(arguments);
        command.env("TRUNKLINE_CONFIG", self.world.path("daemon.toml"));
        crate::world::Ran::of(&command.output().unwrap())
    }

    fn daemon(&self) -> Daemon {
        let settings = self.world.path("daemon.toml");
        self.world.daemon_with(|command| {
            command.env("TRUNKLINE_CONFIG", settings);
        })
    }

    fn token(&self, name: &str) -> String {
        let ran = self.trunkline(&["agent", "token", name]);
        assert_eq!(ran.status, 0, "{ran:?}");
        ran.out
    }

    /// The folder that plays `/` of a machine.
    fn machine(&self, name: &str) -> PathBuf {
        let folder = self.world.path(&format!("machine-{name}"));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn enrol(&self, machine: &str, token: &str) -> crate::world::Ran {
        let file = self.world.path(&format!("token-{machine}"));
        std::fs::write(&file, token).unwrap();
        let state = self.world.path(&format!("state-{machine}"));
        self.trunkline(&["agent", "enrol", "--token-file", file.to_str().unwrap(), "--state", state.to_str().unwrap()])
    }

    /// Starts the agent of a machine that may write in and beneath `roots`.
    fn agent(&self, machine: &str, roots: &str) -> Agent {
        let policy = self.world.path(&format!("policy-{machine}.toml"));
        std::fs::write(&policy, format!("roots = {roots}\nheal_after = \"1s\"\nroot = {:?}\n", self.machine(machine))).unwrap();
        let state = self.world.path(&format!("state-{machine}"));
        let log = std::fs::File::options().create(true).append(true).open(self.log_of(machine)).unwrap();
        let mut command =
            self.world.command(&["agent", "run", "--policy", policy.to_str().unwrap(), "--state", state.to_str().unwrap()]);
        Agent(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    fn log_of(&self, machine: &str) -> PathBuf {
        self.world.path(&format!("agent-{machine}.log"))
    }

    fn said(&self, machine: &str) -> String {
        std::fs::read_to_string(self.log_of(machine)).unwrap_or_default()
    }

    fn enrolled(&self, machine: &str) -> Agent {
        let ran = self.enrol(machine, &self.token("fra1"));
        assert_eq!(ran.status, 0, "{ran:?}");
        self.agent(machine, "[\"/etc\"]")
    }

    fn motd(&self, machine: &str) -> PathBuf {
        self.machine(machine).join("etc/motd")
    }

    /// What `agent list` says of `fra1`.
    fn listed(&self) -> Value {
        let ran = self.trunkline(&["agent", "list", "--output", "json"]);
        serde_json::from_str::<Value>(&ran.out).unwrap()["agents"][0].clone()
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            let logs = || format!("{}\n{}\n{}", self.world.log(), self.said("a"), self.said("b"));
            assert!(begun.elapsed() < Duration::from_secs(60), "not so after a minute: {what}\n{}", logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_merged_runs_on_a_host_that_dials_out_and_drift_is_healed_over_the_connection() {
    let fleet = Fleet::new().await;
    let token = fleet.token("fra1");
    let mut daemon = fleet.daemon();
    // Nobody is there yet: nothing is known, so nothing is done, and that is said.
    let away = |status: &Value| status["message"].as_str().is_some_and(|m| m.contains("not connected") && m.contains("fra1"));
    fleet.world.wait("production", away).await;
    assert_eq!(fleet.enrol("a", &token).status, 0);
    let agent = fleet.agent("a", "[\"/etc\"]");
    fleet.world.wait_ready("production", &fleet.world.head()).await;
    assert_eq!(std::fs::read_to_string(fleet.motd("a")).unwrap(), "one\n");
    assert_eq!(fleet.listed()["state"], "connected");

    fleet.world.edit("environments/production.toml", "one", "two");
    let second = fleet.world.commit("Two");
    fleet.world.wait_ready("production", &second).await;
    assert_eq!(std::fs::read_to_string(fleet.motd("a")).unwrap(), "two\n");

    // A daemon that comes back finds the agent again by itself, and heals what an editor did meanwhile.
    assert_eq!(daemon.terminate(), 0, "{}", fleet.world.log());
    std::fs::write(fleet.motd("a"), "edited\n").unwrap();
    let mut daemon = fleet.daemon();
    fleet.until("healed", || std::fs::read_to_string(fleet.motd("a")).is_ok_and(|text| text == "two\n")).await;

    // A command beside the daemon has no connection of its own, and does not pretend to know.
    let plan = fleet.trunkline(&["plan"]);
    assert!(plan.status != 0 && format!("{}{}", plan.out, plan.err).contains("connected to the daemon"), "{plan:?}");
    drop(agent);
    fleet.until("away", || fleet.listed()["state"] == "away").await;

    // One that was connected when the daemon was killed, and came back to no other, is not said to be connected.
    let agent = fleet.agent("a", "[\"/etc\"]");
    fleet.until("connected", || fleet.listed()["state"] == "connected").await;
    daemon.kill();
    drop(agent);
    let _daemon = fleet.daemon();
    fleet.until("away", || fleet.listed()["state"] == "away").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_once_and_a_revoked_agent_is_refused_until_it_has_another() {
    let fleet = Fleet::new().await;
    let token = fleet.token("fra1");
    let _daemon = fleet.daemon();
    fleet.until("listening", || std::net::TcpStream::connect(&fleet.address).is_ok()).await;
    assert_eq!(fleet.enrol("a", &token).status, 0);
    let again = fleet.enrol("b", &token);
    assert!(again.status == 1 && again.err.contains("it was used") && again.err.contains("agent token NAME"), "{again:?}");
    assert!(!fleet.world.path("state-b").exists(), "a refused enrolment leaves nothing");
    let cut = fleet.enrol("b", &token[..token.len() - 9]);
    assert!(cut.status == 1 && cut.err.contains("no token"), "{cut:?}");

    let _agent = fleet.agent("a", "[\"/etc\"]");
    fleet.world.wait_ready("production", &fleet.world.head()).await;
    assert_eq!(fleet.trunkline(&["agent", "revoke", "fra1"]).status, 0);
    fleet.world.edit("environments/production.toml", "one", "two");
    fleet.world.commit("Two");
    let held = |status: &Value| status["message"].as_str().is_some_and(|m| m.contains("revoked") || m.contains("not connected"));
    fleet.world.wait("production", held).await;
    assert_eq!(std::fs::read_to_string(fleet.motd("a")).unwrap(), "one\n", "a revoked agent gets nothing more");
    assert_eq!(fleet.listed()["state"], "revoked");

    // Another machine takes the name, with another token: it gets everything, and the one before stays refused.
    let _other = fleet.enrolled("b");
    fleet.world.wait_ready("production", &fleet.world.head()).await;
    assert_eq!(std::fs::read_to_string(fleet.motd("b")).unwrap(), "two\n");
    fleet.until("refused", || fleet.world.log().contains("A certificate that does not count was refused")).await;
    assert_eq!(std::fs::read_to_string(fleet.motd("a")).unwrap(), "one\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_at_half_its_life_and_the_one_before_counts_no_longer() {
    let fleet = Fleet::new().await;
    let token = fleet.token("fra1");
    let _daemon = fleet.daemon();
    fleet.until("listening", || std::net::TcpStream::connect(&fleet.address).is_ok()).await;
    assert_eq!(fleet.enrol("a", &token).status, 0);
    let file = fleet.world.path("state-a/agent.json");
    let read = || -> Value { serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap() };
    let first = read();
    // As if it had been made thirteen hours ago.
    let mut aged = first.clone();
    aged["until"] = serde_json::json!(chrono::Utc::now() + chrono::TimeDelta::hours(11));
    std::fs::write(&file, aged.to_string()).unwrap();
    let agent = fleet.agent("a", "[\"/etc\"]");
    fleet.until("renewed", || read()["certificate"] != first["certificate"] && read()["key"] != first["key"]).await;
    fleet.world.wait_ready("production", &fleet.world.head()).await;
    drop(agent);
    // The new one was used; whoever kept the old one is nobody.
    std::fs::write(&file, first.to_string()).unwrap();
    let _agent = fleet.agent("a", "[\"/etc\"]");
    fleet.until("refused", || fleet.world.log().contains("A certificate that does not count was refused")).await;
    assert_ne!(fleet.listed()["state"], "connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_own_policy_is_kept_whatever_the_daemon_asks_and_empty_lists_close_the_door() {
    let fleet = Fleet::new().await;
    // Nobody was admitted: there is no authority, and the daemon does not listen with none.
    let refused = fleet.trunkline(&["run"]);
    assert!(refused.status == 1 && refused.err.contains("no agent was ever admitted"), "{refused:?}");
    let nowhere = fleet.trunkline(&["agent", "token", "fra1", "--address", "nonsense"]);
    assert!(nowhere.status == 1 && nowhere.err.contains("a host and a port"), "{nowhere:?}");
    let token = fleet.token("fra1");
    let _daemon = fleet.daemon();
    fleet.until("listening", || std::net::TcpStream::connect(&fleet.address).is_ok()).await;
    let mut stranger = fleet.agent("a", "[\"/etc\"]");
    assert_eq!(stranger.ended(), Some(1));
    assert!(fleet.said("a").contains("has not enrolled"), "{}", fleet.said("a"));
    assert_eq!(fleet.enrol("a", &token).status, 0);

    // A policy that is none, or allows nothing, does not run.
    let mut none = fleet.agent("a", "[\"etc\"]");
    assert_eq!(none.ended(), Some(1));
    assert!(fleet.said("a").contains("is not an absolute path"), "{}", fleet.said("a"));
    let mut nothing = fleet.agent("a", "[]");
    assert_eq!(nothing.ended(), Some(1));
    assert!(fleet.said("a").contains("allows nothing") && fleet.said("a").contains("roots ="), "{}", fleet.said("a"));

    let _agent = fleet.agent("a", "[\"/srv\"]");
    let outside = |status: &Value| status["message"].as_str().is_some_and(|m| m.contains("outside the folders"));
    let canary = fleet.motd("a");
    std::fs::create_dir_all(canary.parent().unwrap()).unwrap();
    std::fs::write(&canary, "not yours\n").unwrap();
    fleet.world.wait("production", outside).await;
    assert_eq!(std::fs::read_to_string(&canary).unwrap(), "not yours\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn either_side_trusts_the_installations_own_authority_and_nothing_else() {
    let fleet = Fleet::new().await;
    let token = fleet.token("fra1");
    let other = Fleet::new().await;
    let foreign = other.token("fra1");
    let _daemon = fleet.daemon();
    fleet.until("listening", || std::net::TcpStream::connect(&fleet.address).is_ok()).await;
    // A token of another installation that leads here: this daemon is not the one whose certificate it holds.
    let stolen = other.trunkline(&["agent", "token", "fra1", "--address", &fleet.address]).out;
    let refused = fleet.enrol("b", &stolen);
    assert!(refused.status == 1 && refused.err.contains("no connection to the daemon"), "{refused:?}");

    // A certificate of another authority is none here.
    let _other_daemon = other.daemon();
    other.until("listening", || std::net::TcpStream::connect(&other.address).is_ok()).await;
    let _ = foreign;
    assert_eq!(other.enrol("a", &other.token("fra1")).status, 0);
    assert_eq!(fleet.enrol("a", &token).status, 0);
    let read = |fleet: &Fleet| -> Value {
        serde_json::from_str(&std::fs::read_to_string(fleet.world.path("state-a/agent.json")).unwrap()).unwrap()
    };
    let mut mixed = read(&fleet);
    (mixed["certificate"], mixed["key"]) = (read(&other)["certificate"].clone(), read(&other)["key"].clone());
    std::fs::write(fleet.world.path("state-a/agent.json"), mixed.to_string()).unwrap();
    let _agent = fleet.agent("a", "[\"/etc\"]");
    fleet.until("refused", || fleet.said("a").contains("Not connected")).await;
    assert_ne!(fleet.listed()["state"], "connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_puts_the_agent_in_place_and_keeps_the_hosts_own_policy() {
    let fleet = Fleet::new().await;
    let token = fleet.token("fra1");
    let _daemon = fleet.daemon();
    fleet.until("listening", || std::net::TcpStream::connect(&fleet.address).is_ok()).await;
    let (image, file) = (fleet.machine("image"), fleet.world.path("token"));
    std::fs::write(&file, &token).unwrap();
    let root = image.to_str().unwrap();
    let nothing = fleet.trunkline(&["agent", "install", "--root", root]);
    assert!(nothing.status == 1 && nothing.err.contains("--allow"), "{nothing:?}");
    assert!(std::fs::read_dir(&image).unwrap().next().is_none(), "nothing was written");

    let done =
        fleet.trunkline(&["agent", "install", "--root", root, "--allow", "/etc/a \"b", "--token-file", file.to_str().unwrap()]);
    assert_eq!(done.status, 0, "{done:?}");
    let at = |path: &str| image.join(path.trim_start_matches('/'));
    let program = std::process::Command::new(at("/usr/bin/trunkline")).arg("--version").output().unwrap();
    assert!(program.status.success());
    let policy: toml::Table = std::fs::read_to_string(at("/etc/trunkline/agent.toml")).unwrap().parse().unwrap();
    assert_eq!(policy["roots"].as_array().unwrap()[0].as_str(), Some("/etc/a \"b"));
    // The unit is the shipped one, which `host::units` shows to systemd.
    let unit = std::fs::read_to_string(at("/etc/systemd/system/trunkline-agent.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/bin/trunkline agent run --policy /etc/trunkline/agent.toml"), "{unit}");
    assert_eq!(fleet.listed()["name"], "fra1");

    let again = fleet.trunkline(&["agent", "install", "--root", root]);
    assert_eq!(again.status, 0, "an agent that has enrolled needs no token: {again:?}");
    let other = fleet.trunkline(&["agent", "install", "--root", root, "--allow", "/srv"]);
    assert!(other.status == 1 && other.err.contains("the host's own word"), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_daemon_is_away_what_was_applied_is_kept_and_what_is_only_reported_is_left() {
    let fleet = Fleet::new().await;
    let token = fleet.token("fra1");
    let mut daemon = fleet.daemon();
    fleet.until("listening", || std::net::TcpStream::connect(&fleet.address).is_ok()).await;
    assert_eq!(fleet.enrol("a", &token).status, 0);
    let agent = fleet.agent("a", "[\"/etc\"]");
    fleet.world.wait_ready("production", &fleet.world.head()).await;
    daemon.kill();
    std::fs::write(fleet.motd("a"), "edited\n").unwrap();
    fleet.until("healed", || std::fs::read_to_string(fleet.motd("a")).is_ok_and(|text| text == "one\n")).await;
    std::fs::remove_file(fleet.motd("a")).unwrap();
    fleet.until("healed", || fleet.motd("a").exists()).await;
    // Also after the host was started anew, without the daemon.
    drop(agent);
    std::fs::write(fleet.motd("a"), "edited\n").unwrap();
    let _agent = fleet.agent("a", "[\"/etc\"]");
    fleet.until("healed", || std::fs::read_to_string(fleet.motd("a")).is_ok_and(|text| text == "one\n")).await;

    // The daemon that comes back finds nothing to do.
    let mut daemon = fleet.daemon();
    fleet.until("connected", || fleet.listed()["state"] == "connected").await;
    let status = fleet.world.wait_ready("production", &fleet.world.head()).await;
    assert_eq!(status["generation"]["number"], 1, "{status}");

    fleet.world.edit("environments/production.toml", "interval = \"1s\"", "interval = \"1s\"\ndrift = \"report\"");
    let reported = fleet.world.commit("Only tell me");
    fleet.world.wait_ready("production", &reported).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    daemon.kill();
    std::fs::write(fleet.motd("a"), "edited\n").unwrap();
    // Longer than it took to heal.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(std::fs::read_to_string(fleet.motd("a")).unwrap(), "edited\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_that_the_host_does_not_name_are_refused_there() {
    let fleet = Fleet::new().await;
    fleet.world.write("environments/production.toml", "[environment]\n\n[package.curl]\n");
    fleet.world.commit("A package");
    let token = fleet.token("fra1");
    let _daemon = fleet.daemon();
    fleet.until("listening", || std::net::TcpStream::connect(&fleet.address).is_ok()).await;
    assert_eq!(fleet.enrol("a", &token).status, 0);
    std::fs::create_dir_all(fleet.machine("a").join("etc")).unwrap();
    let _agent = fleet.agent("a", "[\"/etc\"]");
    let refused = |status: &Value| status["message"].as_str().is_some_and(|m| m.contains("allows no package"));
    fleet.world.wait("production", refused).await;
}
