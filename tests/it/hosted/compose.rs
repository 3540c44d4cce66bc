//! Projects of the real Docker Compose, on the engine of the fleet: the program runs here.

use serde_json::Value;

use super::here::Here;
use crate::world::Ran;

const IMAGE: &str = "trunkline-host:latest";

/// A service that does nothing, for as long as it is let.
fn idle(more: &str) -> String {
    format!(
        "    image: {IMAGE}\n    entrypoint: [/bin/sleep]\n    command: [infinity]\n    network_mode: none\n    init: true\n    stop_grace_period: 1s\n{more}"
    )
}

/// A project of `web` and `worker`, in a Compose file.
fn project(here: &Here, web: &str, table: &str) {
    file(here, &format!("services:\n  web:\n{}  worker:\n{}", idle(web), idle("")), table);
}

fn file(here: &Here, text: &str, table: &str) {
    here.write("compose/ads.yaml", text);
    here.define(&format!("[compose.ads]\nproject = \"{}\"\nsource = \"compose/ads.yaml\"\n{table}", here.name("ads")));
}

fn said(ran: &Ran) -> String {
    format!("{}\n{}", ran.out, ran.err)
}

/// The container of a service.
fn container(here: &Here, service: &str) -> String {
    format!("{}-{service}-1", here.name("ads"))
}

/// The names of the containers of `worker`: which of several stays is for Docker Compose to say.
fn workers(here: &Here) -> Vec<String> {
    let project = format!("label=com.docker.compose.project={}", here.name("ads"));
    let filters = ["--filter", &project, "--filter", "label=com.docker.compose.service=worker"];
    let listed = here.docker(&[&["container", "ls", "--all", "--format", "{{.Names}}"], &filters[..]].concat());
    listed.lines().map(str::to_owned).collect()
}

fn state(here: &Here, service: &str) -> Value {
    here.inspect(&container(here, service))["State"]["Status"].clone()
}

fn id(here: &Here, service: &str) -> Value {
    here.inspect(&container(here, service))["Id"].clone()
}

fn fields(here: &Here) -> Vec<String> {
    here.changes().first().map(|change| change.2.clone()).unwrap_or_default()
}

fn compose(here: &Here, words: &[&str]) -> String {
    here.docker(&[&["compose", "--project-name", &here.name("ads")], words].concat())
}

/// The arguments of every process of the machine while `what` is done.
fn seen_while(what: impl FnOnce()) -> String {
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let spy = scope.spawn(|| {
            let mut seen = std::collections::BTreeSet::new();
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                for process in std::fs::read_dir("/proc").unwrap().flatten() {
                    let words = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
                    seen.insert(String::from_utf8_lossy(&words).replace('\0', " "));
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            seen.into_iter().collect::<Vec<_>>().join("\n")
        });
        // Also where it fails: the spy must not look for ever.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(what));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let seen = spy.join().unwrap();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        seen
    })
}

#[test]
fn a_service_is_made_anew_exactly_when_its_definition_changes_and_secrets_are_in_its_environment_only() {
    let here = Here::new("[containers]\n");
    here.secret("key", "value-of-$the-key-4711");
    let web = "    environment: { LEVEL: info, PRICE: 5$$ }\n    labels: [role=web]\n    mem_limit: 64m\n";
    let secrets = "secrets = { web = { KEY = { secret = \"key\" } } }\n";
    project(&here, web, secrets);
    // Whoever looks at the arguments of all that runs meanwhile.
    let seen = seen_while(|| here.converge());
    assert!(seen.contains(&format!("--project-name={}", here.name("ads"))), "it was seen");
    assert!(!seen.contains("the-key-4711"));
    let (first, worker) = (here.inspect(&container(&here, "web")), id(&here, "worker"));
    let has = |inspected: &Value, line: &str| inspected["Config"]["Env"].as_array().unwrap().iter().any(|entry| entry == line);
    assert!(has(&first, "LEVEL=info") && has(&first, "PRICE=5$") && has(&first, "KEY=value-of-$the-key-4711"));
    assert_eq!((&first["Config"]["Labels"]["role"], &first["HostConfig"]["Memory"]), (&"web".into(), &(64 << 20).into()));

    // What is written otherwise and means the same.
    project(&here, "    environment: [PRICE=5$$, LEVEL=info]\n    labels: { role: web }\n    mem_limit: 64m\n", secrets);
    here.converge();
    assert_eq!(id(&here, "web"), first["Id"]);

    here.secret("key", "another-value-4712");
    here.commit();
    assert_eq!(fields(&here), ["services.web.environment.KEY"]);
    here.converge();
    let second = here.inspect(&container(&here, "web"));
    assert!(second["Id"] != first["Id"] && has(&second, "KEY=another-value-4712"));
    assert_eq!(id(&here, "worker"), worker, "its definition did not change");
    for words in [&["plan", "--output", "json"][..], &["status", "--output", "json"]] {
        let ran = here.trunkline(words);
        assert!(!said(&ran).contains("4712") && !said(&ran).contains("4711"));
    }

    // A service that left is removed; and all of it when it is no longer defined, but for its volumes.
    let volume = format!("services:\n  web:\n{}volumes:\n  data:\n", idle("    volumes: [data:/data]\n"));
    file(&here, &volume, "");
    here.converge();
    assert!(!here.is_there(&container(&here, "worker")));
    here.define("");
    here.converge();
    assert!(!here.is_there(&container(&here, "web")));
    let name = format!("{}_data", here.name("ads"));
    assert!(here.docker(&["volume", "ls", "--quiet"]).contains(&name), "data stays");
    here.docker(&["volume", "rm", &name]);
}

#[test]
fn what_people_did_to_a_project_is_seen_and_put_right_and_what_is_not_of_it_is_left_alone() {
    let here = Here::new("[containers]\n");
    let other = here.name("other");
    here.docker(&["run", "-d", "--name", &other, "--network", "none", "--entrypoint", "/bin/sleep", IMAGE, "infinity"]);
    let before = here.inspect(&other)["Id"].clone();
    project(&here, "    mem_limit: 64m\n", "");
    here.converge();
    let web = container(&here, "web");
    here.docker(&["stop", "-t", "0", &web]);
    assert_eq!(fields(&here), ["state"]);
    here.converge();
    assert_eq!(state(&here, "web"), "running");
    here.docker(&["rm", "-f", &web]);
    assert!(!fields(&here).is_empty());
    here.converge();
    here.docker(&["update", "--memory", "128m", "--memory-swap", "256m", &web]);
    assert_eq!(fields(&here), ["services.web.mem_limit"]);
    here.converge();
    assert_eq!(here.inspect(&web)["HostConfig"]["Memory"], 64 << 20);
    here.docker(&["update", "--restart", "always", &web]);
    assert_eq!(fields(&here), ["services.web.restart"]);
    here.converge();
    // Another service of the project, which nobody defined; and more of one.
    let folder = tempfile::tempdir().unwrap();
    let (theirs, more) = (folder.path().join("theirs.yaml"), folder.path().join("more.yaml"));
    std::fs::write(&theirs, format!("services:\n  extra:\n{}", idle(""))).unwrap();
    std::fs::write(&more, format!("services:\n  worker:\n{}", idle("    scale: 2\n"))).unwrap();
    compose(&here, &["--file", theirs.to_str().unwrap(), "up", "--detach"]);
    assert!(fields(&here).iter().any(|field| field.starts_with("services.extra")), "{:?}", fields(&here));
    here.converge();
    assert!(!here.is_there(&container(&here, "extra")));
    compose(&here, &["--file", more.to_str().unwrap(), "up", "--detach"]);
    assert!(here.is_there(&format!("{}-worker-2", here.name("ads"))) && !fields(&here).is_empty());
    here.converge();
    let worker = workers(&here);
    assert_eq!(worker.len(), 1, "{worker:?}");
    compose(&here, &["down", "-t", "0"]);
    assert_eq!(here.changes()[0].1, "create");
    here.converge();

    project(&here, "    mem_limit: 64m\n", "state = \"stopped\"\n");
    here.converge();
    let status = |name: &str| here.inspect(name)["State"]["Status"].clone();
    assert_eq!((state(&here, "web"), status(&workers(&here)[0])), ("exited".into(), "exited".into()));
    project(&here, "    mem_limit: 64m\n", "");
    here.converge();
    assert_eq!(status(&workers(&here)[0]), "running");
    here.define("");
    here.converge();
    assert_eq!(here.inspect(&other)["Id"], before);
}

#[test]
fn nothing_stops_before_images_are_there_and_a_project_that_does_not_come_up_is_taken_back() {
    let here = Here::new("[containers]\n");
    here.secret("key", "value-of-the-key-4711");
    let secrets = "secrets = { web = { KEY = { secret = \"key\" } } }\n";
    project(&here, "", secrets);
    here.converge();
    let before = here.inspect(&container(&here, "web"));
    let untouched = |here: &Here| {
        let now = here.inspect(&container(here, "web"));
        assert_eq!((&now["Id"], &now["State"]["StartedAt"]), (&before["Id"], &before["State"]["StartedAt"]));
    };
    let missing = "localhost:1/none/such@sha256:0000000000000000000000000000000000000000000000000000000000000000";
    let text = |web: &str, image: &str| format!("services:\n  web:\n{}  worker:\n{}", idle(web), idle("").replace(IMAGE, image));
    file(&here, &text("", missing), secrets);
    let ran = here.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("cannot be had"), "{}", said(&ran));
    untouched(&here);
    // Docker Compose itself finds it at fault.
    let waits = |on: &str| idle(&format!("    depends_on: [{on}]\n"));
    file(&here, &format!("services:\n  web:\n{}  worker:\n{}", waits("worker"), waits("web")), secrets);
    let ran = here.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("nothing was stopped"), "{}", said(&ran));
    untouched(&here);

    project(&here, "    read_only: true\n", secrets);
    file(&here, &format!("services:\n  web:\n{}  worker:\n{}", idle("").replace("[infinity]", "[nonsense]"), idle("")), secrets);
    let ran = here.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("did not come up; the former one is back, and runs"), "{}", said(&ran));
    assert!(said(&ran).contains("`web` ended with status 1"), "{}", said(&ran));
    let now = here.inspect(&container(&here, "web"));
    assert_eq!((&now["State"]["Status"], &now["Config"]["Cmd"][0]), (&"running".into(), &"infinity".into()));
    assert!(now["Config"]["Env"].as_array().unwrap().iter().any(|entry| entry == "KEY=value-of-the-key-4711"));
    project(&here, "", secrets);
    here.converge();
    here.define("");
    here.converge();
    // One that is new is gone again.
    file(&here, &format!("services:\n  web:\n{}", idle("").replace("[infinity]", "[nonsense]")), "");
    let ran = here.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("it was taken away again"), "{}", said(&ran));
    assert!(!here.is_there(&container(&here, "web")));
}

#[test]
fn services_wait_for_each_other_are_probed_and_started_anew_and_a_rollback_brings_back_what_was() {
    let here = Here::new("[containers]\n");
    let job = format!(
        "  job:\n    image: {IMAGE}\n    entrypoint: [/bin/true]\n    network_mode: none\n  web:\n{}",
        idle(
            "    depends_on:\n      job: { condition: service_completed_successfully }\n    healthcheck:\n      test: [CMD, /bin/test, -d, /bin]\n      interval: 1s\n      retries: 3\n"
        )
    );
    let conf = format!("[file.conf]\npath = \"/tmp/{}.conf\"\ncontent = \"one\"\n", here.name("conf"));
    let table = format!("restart_on = [\"file.conf\"]\n{conf}");
    file(&here, &format!("services:\n{job}"), &table);
    here.converge();
    let before = here.inspect(&container(&here, "web"));
    assert_eq!((&before["State"]["Health"]["Status"], state(&here, "job")), (&"healthy".into(), "exited".into()));
    let first = here.head();
    here.define(
        &here
            .read("environments/production/production.toml")
            .replace("[environment]\ndigest_key = { secret = \"digest-key\" }\n", "")
            .replace("one", "two"),
    );
    here.converge();
    let restarted = here.inspect(&container(&here, "web"));
    assert_eq!(restarted["Id"], before["Id"]);
    assert_ne!(restarted["State"]["StartedAt"], before["State"]["StartedAt"]);

    file(&here, &format!("services:\n{}", job.replace("retries: 3", "retries: 4")), &table.replace("one", "two"));
    here.converge();
    let retries = || here.inspect(&container(&here, "web"))["Config"]["Healthcheck"]["Retries"].clone();
    assert_eq!(retries(), 4);
    let ran = here.trunkline(&["rollback", "production", "--to", &first]);
    assert_eq!(ran.status, 0, "{}", said(&ran));
    assert_eq!(retries(), 3);
    // One that is found unwell is not up.
    file(&here, &format!("services:\n{}", job.replace("-d, /bin]", "-d, /none]")), &table);
    let ran = here.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("the former one is back"), "{}", said(&ran));
}

#[test]
fn what_is_there_is_taken_over_only_when_asked_and_one_can_be_written_in_the_definition() {
    let here = Here::new("[containers]\n");
    let services = format!(
        "[compose.ads.services.web]\nimage = \"{IMAGE}\"\nentrypoint = [\"/bin/sleep\"]\ncommand = [\"infinity\"]\nnetworks = [\"inner\"]\nstop_grace_period = \"1s\"\n[compose.ads.networks.inner]\ninternal = true\n"
    );
    let head = format!("[compose.ads]\nproject = \"{}\"\n", here.name("ads"));
    here.define(&format!("{head}{services}"));
    here.converge();
    let networks = here.inspect(&container(&here, "web"))["NetworkSettings"]["Networks"].clone();
    assert!(networks.get(format!("{}_inner", here.name("ads"))).is_some(), "{networks}");
    here.define("");
    here.converge();
    let folder = tempfile::tempdir().unwrap();
    let theirs = folder.path().join("compose.yaml");
    std::fs::write(&theirs, format!("services:\n  web:\n{}", idle(""))).unwrap();
    compose(&here, &["--file", theirs.to_str().unwrap(), "up", "--detach"]);
    let theirs = id(&here, "web");
    here.define(&format!("{head}{services}"));
    let ran = here.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("adopt"), "{}", said(&ran));
    assert_eq!(id(&here, "web"), theirs);
    here.define(&format!("{head}adopt = true\n{services}"));
    here.converge();
    assert_ne!(id(&here, "web"), theirs);
    here.define("");
    here.converge();
}

#[test]
fn what_gives_a_service_the_host_needs_the_daemons_own_word() {
    let asks = [
        ("privileged: true", "privileged"),
        ("pid: host", "host_pid"),
        ("cap_add: [SYS_ADMIN]", "cap_add"),
        ("devices: [/dev/null]", "devices"),
        ("volumes: [\"/var/run/docker.sock:/s\"]", "docker_socket"),
        ("volumes: [{ type: bind, source: /, target: /host }]", "host_folders"),
    ];
    let by_name = idle("").replace("network_mode: none", "networks: [x]");
    let by_name = format!("services:\n  web:\n{by_name}networks: {{ x: {{ external: true, name: host }} }}\n");
    let here = Here::new("[containers]\n");
    for (ask, danger) in asks {
        project(&here, &format!("    {ask}\n"), "");
        let ran = here.trunkline(&["apply"]);
        assert!(ran.status != 0 && said(&ran).contains(danger) && said(&ran).contains("[containers]"), "{ask}: {}", said(&ran));
        assert!(!here.is_there(&container(&here, "web")));
    }
    file(&here, &format!("services:\n  web:\n{}", idle("").replace("none", "host")), "");
    assert!(said(&here.trunkline(&["apply"])).contains("host_network"));
    file(&here, &by_name, "");
    assert!(said(&here.trunkline(&["apply"])).contains("host_network"));
    let allowed = Here::new("[containers]\nallow = [\"host_pid\", \"cap_add\"]\n");
    project(&allowed, "    pid: host\n    cap_add: [NET_ADMIN]\n", "");
    allowed.converge();
    assert_eq!(allowed.inspect(&container(&allowed, "web"))["HostConfig"]["PidMode"], "host");
    allowed.define("");
    allowed.converge();
}

#[test]
fn killed_at_any_instant_it_converges() {
    let here = Here::new("[containers]\n");
    project(&here, "", "");
    here.converge();
    let names = ["before_host_intent", "after_host_intent", "before_host_record", "after_host_record", "after_effect"];
    for (number, name) in (1..).zip(names) {
        let before = id(&here, "web");
        project(&here, &format!("    environment: {{ N: \"{number}\" }}\n"), "");
        let ran = here.killed_at(name);
        assert_ne!(ran.status, 0, "{name} was not reached");
        if name == "after_host_intent" {
            // As one leaves it that was killed a moment later.
            here.docker(&["rm", "-f", &container(&here, "web")]);
        }
        here.converge();
        assert_ne!(id(&here, "web"), before, "{name}");
        assert_eq!(state(&here, "worker"), "running");
    }
    here.define("");
    here.converge();
}
