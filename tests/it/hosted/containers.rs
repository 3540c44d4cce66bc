//! Containers, on the engine of the fleet: the program runs here.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::here::Here;

const IMAGE: &str = "trunkline-host:latest";

/// A container that does nothing, for as long as it is let.
fn idle(here: &Here, more: &str) -> String {
    format!(
        "[container.idle]\nname = \"{}\"\nimage = \"{IMAGE}\"\nentrypoint = \"/bin/sleep\"\ncommand = [\"infinity\"]\nnetwork = \"none\"\ninit = true\nstop_timeout = 1\n{more}",
        here.name("idle")
    )
}

fn said(ran: &crate::world::Ran) -> String {
    format!("{}\n{}", ran.out, ran.err)
}

#[test]
fn a_container_is_made_anew_exactly_when_its_definition_changes() {
    let here = Here::new("[containers]\n");
    let env = "env = { LEVEL = \"info\", KEY = { secret = \"key\" } }\n";
    here.secret("key", "value-of-the-key-4711");
    here.define(&idle(&here, env));
    here.converge();
    let name = here.name("idle");
    let first = here.inspect(&name);
    assert_eq!(first["State"]["Status"], "running");
    let has = |inspected: &Value, line: &str| inspected["Config"]["Env"].as_array().unwrap().iter().any(|entry| entry == line);
    assert!(has(&first, "LEVEL=info") && has(&first, "KEY=value-of-the-key-4711"));
    assert_eq!(first["HostConfig"]["RestartPolicy"]["Name"], "unless-stopped");

    // What has nothing to do with it, and what is written otherwise and means the same.
    here.define(&idle(&here, "read_only = false\nenv = { KEY = { secret = \"key\" }, LEVEL = \"info\" }\n"));
    here.converge();
    assert_eq!(here.inspect(&name)["Id"], first["Id"]);

    here.secret("key", "another-value-4712");
    here.commit();
    let changes = here.changes();
    assert_eq!(changes[0].2, ["env.KEY"], "{changes:?}");
    here.converge();
    let second = here.inspect(&name);
    assert!(second["Id"] != first["Id"] && has(&second, "KEY=another-value-4712"));
    assert!(!here.trunkline(&["plan"]).out.contains("4712"));

    here.define("");
    here.converge();
    assert!(!here.is_there(&name));
}

#[test]
fn what_people_did_to_a_container_is_seen_and_put_right() {
    let here = Here::new("[containers]\n");
    here.define(&idle(&here, "memory = \"64m\"\n"));
    here.converge();
    let name = here.name("idle");
    let field = |here: &Here| here.changes().first().map(|change| change.2.clone()).unwrap_or_default();
    here.docker(&["stop", "-t", "0", &name]);
    assert_eq!(field(&here), ["state"]);
    here.converge();
    here.docker(&["pause", &name]);
    assert_eq!(field(&here), ["state"]);
    here.converge();
    here.docker(&["update", "--restart", "no", &name]);
    assert_eq!(field(&here), ["restart"]);
    here.converge();
    here.docker(&["update", "--memory", "128m", "--memory-swap", "256m", &name]);
    assert_eq!(field(&here), ["memory"]);
    here.converge();
    here.docker(&["rm", "-f", &name]);
    assert_eq!(here.changes()[0].1, "create");
    here.converge();
    // Another one under its name.
    here.docker(&["rm", "-f", &name]);
    here.docker(&["run", "-d", "--name", &name, "--network", "none", "--entrypoint", "/bin/sleep", IMAGE, "infinity"]);
    let ran = here.trunkline(&["apply"]);
    assert_eq!(here.inspect(&name)["State"]["Status"], "running");
    assert!(ran.status == 0 || said(&ran).contains(&name), "{}", said(&ran));
}

#[test]
fn nothing_stops_before_its_successor_is_there_and_one_that_does_not_run_is_taken_back() {
    let here = Here::new("[containers]\n");
    here.define(&idle(&here, ""));
    here.converge();
    let name = here.name("idle");
    let before = here.inspect(&name);
    let runs_as_before = |here: &Here| {
        let now = here.inspect(&name);
        assert_eq!(
            (&now["Id"], &now["State"]["StartedAt"]),
            (&before["Id"], &before["State"]["StartedAt"]),
            "it was not touched"
        );
    };
    here.define(
        &idle(&here, "")
            .replace(IMAGE, "localhost:1/none/such@sha256:0000000000000000000000000000000000000000000000000000000000000000"),
    );
    let ran = here.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("cannot be had"), "{}", said(&ran));
    runs_as_before(&here);
    here.define(&idle(&here, "").replace("\"none\"", "\"no-such-network\""));
    let ran = here.trunkline(&["apply"]);
    assert!(ran.status != 0, "{}", said(&ran));
    here.define(&idle(&here, "").replace("[\"infinity\"]", "[\"nonsense\"]"));
    let ran = here.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("did not come up; the former one is back, and runs"), "{}", said(&ran));
    let now = here.inspect(&name);
    assert_eq!((&now["Id"], &now["State"]["Status"]), (&before["Id"], &Value::from("running")));
    assert!(!here.is_there(&format!("{name}.trunkline-next")) && !here.is_there(&format!("{name}.trunkline-former")));
    here.define(&idle(&here, ""));
    here.converge();
}

#[test]
fn a_container_that_ended_well_and_is_not_started_again_is_as_it_was_to_be() {
    let here = Here::new("[containers]\n");
    let job = format!(
        "[container.job]\nname = \"{}\"\nimage = \"{IMAGE}\"\nentrypoint = \"/bin/true\"\nnetwork = \"none\"\nrestart = \"no\"\n",
        here.name("job")
    );
    here.define(&job);
    here.converge();
    assert_eq!(here.inspect(&here.name("job"))["State"]["Status"], "exited");
    here.define(&job.replace("/bin/true", "/bin/false"));
    let ran = here.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("ended with status 1"), "{}", said(&ran));
}

#[test]
fn what_gives_a_container_the_host_needs_the_daemons_own_word() {
    let asks = [
        ("privileged = true", "privileged"),
        ("pid = \"host\"", "host_pid"),
        ("cap_add = [\"SYS_ADMIN\"]", "cap_add"),
        ("devices = [\"/dev/null\"]", "devices"),
        ("mounts = [{ bind = \"/var/run/docker.sock\", target = \"/s\" }]", "docker_socket"),
        ("mounts = [{ bind = \"/\", target = \"/host\" }]", "host_folders"),
    ];
    let here = Here::new("[containers]\n");
    for (ask, danger) in asks {
        here.define(&idle(&here, &format!("{ask}\n")));
        let ran = here.trunkline(&["apply"]);
        assert!(ran.status != 0 && said(&ran).contains(danger) && said(&ran).contains("[containers]"), "{ask}: {}", said(&ran));
        assert!(!here.is_there(&here.name("idle")));
    }
    here.define(&idle(&here, "").replace("\"none\"", "\"host\""));
    assert!(said(&here.trunkline(&["apply"])).contains("host_network"));
    let allowed = Here::new("[containers]\nallow = [\"host_pid\", \"cap_add\"]\n");
    allowed.define(&idle(&allowed, "pid = \"host\"\ncap_add = [\"NET_ADMIN\"]\n"));
    allowed.converge();
    assert_eq!(allowed.inspect(&allowed.name("idle"))["HostConfig"]["PidMode"], "host");
}

#[test]
fn killed_while_one_takes_the_place_of_another_there_is_one_in_the_end() {
    let here = Here::new("[containers]\n");
    here.define(&idle(&here, ""));
    here.converge();
    let name = here.name("idle");
    // As a killed executor leaves it: the old one under its other name, the new one not begun.
    here.docker(&["rename", &name, &format!("{name}.trunkline-former")]);
    here.docker(&["create", "--name", &format!("{name}.trunkline-next"), IMAGE, "true"]);
    here.converge();
    assert_eq!(here.inspect(&name)["State"]["Status"], "running");
    assert!(!here.is_there(&format!("{name}.trunkline-next")) && !here.is_there(&format!("{name}.trunkline-former")));
}

/// Docker of the fleet.
pub(super) fn docker(arguments: &[&str]) -> Output {
    let bed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fleet/bed");
    Command::new(bed).arg("docker").args(arguments).output().unwrap()
}
