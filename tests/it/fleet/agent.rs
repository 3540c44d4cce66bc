//! An agent on a real host: installed by one command, run by systemd, and still there after what happens to hosts.

use std::time::Duration;

use serde_json::Value;

use super::bed::Host;
use crate::world::{Ran, World};

struct Scene {
    world: World,
    host: Host,
}

impl Scene {
    async fn new() -> Self {
        let world = World::empty().await;
        let host = Host::lease();
        let port = std::net::TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
        let settings = format!("[agents]\nlisten = \"0.0.0.0:{port}\"\naddress = \"{}:{port}\"\n", host.gateway());
        std::fs::write(world.path("daemon.toml"), settings).unwrap();
        world.write("trunkline.toml", "format = 1\n");
        world.write("fleet/hosts.toml", "[host.fra1]\nconnect = \"agent\"\n");
        let file = "[environment]\n\n[environment.sync]\ninterval = \"2s\"\n\n[file.engine]\npath = \"/etc/ads/engine.conf\"\ncontent = \"one\\n\"\n";
        world.write("environments/production.toml", file);
        world.commit("A host that dials out");
        Self { world, host }
    }

    fn trunkline(&self, arguments: &[&str]) -> Ran {
        let mut command = self.world.command(arguments);
        command.env("TRUNKLINE_CONFIG", self.world.path("daemon.toml"));
        Ran::of(&command.output().unwrap())
    }

    /// A token, and the one command on the host.
    fn install(&self) {
        let ran = self.trunkline(&["agent", "token", "fra1"]);
        assert_eq!(ran.status, 0, "{ran:?}");
        self.host.put(std::path::Path::new(env!("CARGO_BIN_EXE_trunkline")), "/root/trunkline");
        self.host.write("/root/token", &ran.out);
        self.host.run(&["/root/trunkline", "agent", "install", "--allow", "/etc/ads", "--token-file", "/root/token"]);
    }

    fn engine(&self) -> String {
        self.host.read("/etc/ads/engine.conf")
    }

    fn change(&self, from: &str, to: &str) -> String {
        self.world.edit("environments/production.toml", from, to);
        self.world.commit(to)
    }

    /// A connection that was cut is noticed after a minute without a sign.
    async fn ready(&self, commit: &str) {
        let revision = format!("main@sha1:{commit}");
        for _ in 0..1500 {
            let ran = self.trunkline(&["status", "production", "--output", "json"]);
            let status: Value = serde_json::from_str(&ran.out).unwrap_or_default();
            let status = &status["environments"][0];
            if status["condition"] == "Ready" && status["applied"] == revision.as_str() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let journal = self.host.try_run(&["journalctl", "--unit", "trunkline-agent", "--no-pager"]);
        panic!("not ready at {commit}:\n{}\n{}", self.world.log(), String::from_utf8_lossy(&journal.stdout));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_systemd_outlives_reboots_cut_cables_and_daemons_and_a_replaced_host_is_as_before() {
    let scene = Scene::new().await;
    let settings = scene.world.path("daemon.toml");
    let start = || {
        scene.world.daemon_with(|command| {
            command.env("TRUNKLINE_CONFIG", &settings);
        })
    };
    // The authority is made by the first token; the daemon listens with no other.
    assert_eq!(scene.trunkline(&["agent", "token", "fra1"]).status, 0);
    let mut daemon = start();
    scene.install();
    scene.ready(&scene.world.head()).await;
    assert_eq!(scene.engine(), "one");
    assert_eq!(scene.host.run(&["systemctl", "is-active", "trunkline-agent"]), "active");
    assert_eq!(scene.host.run(&["systemctl", "is-enabled", "trunkline-agent"]), "enabled");
    let listening = scene.host.run(&["ss", "--listening", "--tcp", "--processes", "--no-header"]);
    assert!(!listening.contains("trunkline"), "the agent opens no port: {listening}");

    // By hand on the host, and put right.
    scene.host.write("/etc/ads/engine.conf", "edited");
    for _ in 0..300 {
        if scene.engine() == "one" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(scene.engine(), "one");

    scene.host.restart();
    scene.ready(&scene.change("one", "after-a-reboot")).await;
    assert_eq!(scene.engine(), "after-a-reboot");

    scene.host.plug(false);
    let cut = scene.change("after-a-reboot", "after-a-cut");
    tokio::time::sleep(Duration::from_secs(3)).await;
    scene.host.plug(true);
    scene.ready(&cut).await;
    assert_eq!(scene.engine(), "after-a-cut");

    daemon.kill();
    let _daemon = start();
    scene.ready(&scene.change("after-a-cut", "after-a-kill")).await;
    assert_eq!(scene.engine(), "after-a-kill");

    // A machine of the same name, with nothing on it: from Git and the store alone it becomes what the other was.
    scene.host.replace();
    assert!(!scene.host.try_run(&["test", "-e", "/etc/ads"]).status.success());
    scene.install();
    for _ in 0..1200 {
        if scene.host.try_run(&["test", "-e", "/etc/ads/engine.conf"]).status.success() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(scene.engine(), "after-a-kill");
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_of_pm2_run_under_an_agent_that_is_hardened_and_outlive_it() {
    let scene = Scene::new().await;
    let settings = scene.world.path("daemon.toml");
    assert_eq!(scene.trunkline(&["agent", "token", "fra1"]).status, 0);
    let daemon = scene.world.daemon_with(|command| {
        command.env("TRUNKLINE_CONFIG", &settings);
    });
    scene.install();
    crate::hosted::pm2::install(&scene.host);
    scene.host.run(&["mkdir", "/srv/api"]);
    scene.host.write("/srv/api/server.js", "setInterval(() => {}, 1000)\n");
    let policy = scene.host.read("/etc/trunkline/agent.toml") + "\nkinds = [\"file\", \"pm2\"]\n";
    scene.host.write("/etc/trunkline/agent.toml", &policy);
    scene.host.run(&["systemctl", "restart", "trunkline-agent"]);
    scene.ready(&scene.change("[file.engine]", "[pm2.api]\nscript = \"/srv/api/server.js\"\n\n[file.engine]")).await;
    let process = || scene.host.run(&["pgrep", "-f", "^node /srv/api/server.js"]);
    let before = process();
    // Node.js writes code as it runs, which the agent itself may not.
    assert_eq!(scene.host.run(&["systemctl", "show", "-P", "MemoryDenyWriteExecute", "trunkline-agent"]), "yes");
    scene.host.run(&["systemctl", "restart", "trunkline-agent"]);
    scene.ready(&scene.change("one", "after-the-agent")).await;
    assert_eq!(process(), before, "what PM2 runs is not the agent's");
    drop(daemon);
}
