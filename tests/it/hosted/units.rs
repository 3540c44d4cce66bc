//! systemd units.

use super::site::Site;
use crate::world::Ran;

const ENGINE: &str =
    "[Unit]\nDescription=Engine\n[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";

/// A service with this text that starts anew when its configuration changes.
fn engine(text: &str, configuration: &str) -> String {
    format!(
        "[file.config]\npath = \"/etc/engine.conf\"\ncontent = {configuration:?}\n[unit.engine]\ncontent = {text:?}\nrestart_on = [\"file.config\"]\n"
    )
}

fn run_of(site: &Site, name: &str) -> String {
    assert_eq!(site.unit(name, "ActiveState"), "active", "{name}");
    site.unit(name, "InvocationID")
}

fn said(ran: &Ran) -> String {
    format!("{}\n{}", ran.out, ran.err)
}

fn change(address: &str, action: &str, fields: &[&str]) -> (String, String, Vec<String>) {
    (format!("production/{address}"), action.to_owned(), fields.iter().map(|&field| field.to_owned()).collect())
}

#[test]
fn a_service_is_started_and_started_anew_exactly_when_its_inputs_change() {
    let site = Site::new(&engine(ENGINE, "one"));
    site.converge();
    let first = run_of(&site, "engine.service");
    assert_eq!(site.unit("engine.service", "UnitFileState"), "enabled");

    // What has nothing to do with it: a commit, a file, another unit.
    site.define(&(engine(ENGINE, "one") + "[file.motd]\npath = \"/etc/motd\"\ncontent = \"x\"\nadopt = true\n"));
    site.converge();
    assert_eq!(run_of(&site, "engine.service"), first);

    site.define(&engine(ENGINE, "two"));
    site.converge();
    let second = run_of(&site, "engine.service");
    assert_ne!(second, first, "its configuration changed");
    site.define(&engine(&ENGINE.replace("Engine", "The engine"), "two"));
    site.converge();
    let third = run_of(&site, "engine.service");
    assert_ne!(third, second, "its text changed");
    assert_eq!(site.unit("engine.service", "Description"), "The engine");

    // A machine that was turned off and on runs it without us.
    site.host.restart();
    assert_eq!(site.unit("engine.service", "ActiveState"), "active");
    assert!(site.changes().is_empty());
}

#[test]
fn what_a_person_did_to_a_unit_is_seen_by_field_and_put_right() {
    let site = Site::new(&engine(ENGINE, "one"));
    site.converge();
    let name = "engine.service";
    site.host.run(&["systemctl", "stop", name]);
    assert_eq!(site.changes(), [change("unit.engine", "update", &["state"])]);
    site.converge();
    site.host.run(&["systemctl", "disable", name]);
    assert_eq!(site.changes(), [change("unit.engine", "update", &["enabled"])]);
    let before = run_of(&site, name);
    site.converge();
    assert_eq!(run_of(&site, name), before, "enabling it is no reason to start it anew");

    site.host.run(&[
        "sh",
        "-c",
        "sed -i s/infinity/1000/ /etc/systemd/system/engine.service; systemctl daemon-reload; systemctl restart engine",
    ]);
    assert_eq!(site.changes(), [change("unit.engine", "update", &["content"])]);
    site.converge();
    assert!(site.unit(name, "ExecStart").contains("infinity"));

    site.host.run(&["chmod", "666", "/etc/systemd/system/engine.service"]);
    assert_eq!(site.changes(), [change("unit.engine", "update", &["mode"])]);
    site.converge();

    // Its configuration was edited, and it may have read that: the file is healed, and it starts anew.
    let before = run_of(&site, name);
    site.host.write("/etc/engine.conf", "edited");
    let changes = site.changes();
    assert_eq!(changes[0], change("file.config", "update", &["content"]));
    assert_eq!((changes[1].0.as_str(), changes.len()), ("production/unit.engine", 2));
    site.converge();
    assert_ne!(run_of(&site, name), before);

    // It failed, so often that systemd gave up: it is started all the same.
    site.host.run(&["sh", "-c", "for i in 1 2 3 4 5 6 7; do systemctl kill -s KILL engine; systemctl start engine 2>/dev/null; done; systemctl kill -s KILL engine; sleep 0.3"]);
    assert_eq!(site.unit(name, "ActiveState"), "failed");
    assert_eq!(site.changes(), [change("unit.engine", "update", &["state"])]);
    site.converge();
    run_of(&site, name);

    site.host.run(&["rm", "/etc/systemd/system/engine.service"]);
    assert_eq!(site.changes()[0].1, "create");
    site.converge();
}

#[test]
fn nothing_is_stopped_for_a_text_that_is_wrong_and_one_that_does_not_run_is_taken_back() {
    let site = Site::new(&engine(ENGINE, "one"));
    site.converge();
    let before = run_of(&site, "engine.service");
    for (wrong, why) in [
        ("[Service]\nExecStart=/usr/bin/no-such-program\n[Install]\nWantedBy=multi-user.target\n", "no-such-program"),
        ("[Service]\nExecStart=/bin/sleep 1\nExecStrat=/bin/true\n[Install]\nWantedBy=multi-user.target\n", "ExecStrat"),
    ] {
        site.define(&engine(wrong, "one"));
        let ran = site.trunkline(&["apply"]);
        assert!(ran.status != 0 && said(&ran).contains("systemd-analyze verify") && said(&ran).contains(why), "{}", said(&ran));
        assert_eq!(run_of(&site, "engine.service"), before, "it was not touched");
        assert_eq!(site.host.read("/etc/systemd/system/engine.service"), ENGINE.trim_end());
    }

    site.define(&engine("[Service]\nExecStart=/bin/sh -c 'exit 7'\n[Install]\nWantedBy=multi-user.target\n", "one"));
    let ran = site.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("did not come up; its former text is back, and it runs"), "{}", said(&ran));
    assert!(said(&ran).contains("status 7") && said(&ran).contains("journalctl -u engine.service"), "{}", said(&ran));
    assert_eq!(site.host.read("/etc/systemd/system/engine.service"), ENGINE.trim_end());
    run_of(&site, "engine.service");

    // One that is new and does not run is gone again.
    site.define(
        &(engine(ENGINE, "one")
            + "[unit.bad]\ncontent = \"[Service]\\nExecStart=/bin/false\\n[Install]\\nWantedBy=multi-user.target\\n\"\n"),
    );
    let ran = site.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("it was taken away again"), "{}", said(&ran));
    assert_eq!(site.unit("bad.service", "LoadState"), "not-found");
    assert!(!site.host.try_run(&["test", "-e", "/etc/systemd/system/multi-user.target.wants/bad.service"]).status.success());
    site.define(&engine(ENGINE, "one"));
    site.converge();
}

const TIMED: &str = r#"
[unit.report]
content = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo run >> /var/lib/report'\n"
[unit.report-timer]
name = "report.timer"
content = "[Timer]\nOnCalendar=yearly\n[Install]\nWantedBy=timers.target\n"
[unit.once]
content = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo once >> /var/lib/once'\n[Install]\nWantedBy=multi-user.target\n"
[unit.talk-socket]
name = "talk.socket"
content = "[Socket]\nListenStream=/run/talk\nAccept=no\n[Install]\nWantedBy=sockets.target\n"
[unit.talk]
content = "[Service]\nExecStart=/bin/sleep infinity\n"
[unit.spare]
content = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
state = "stopped"
enabled = false
"#;

#[test]
fn timers_sockets_and_what_runs_once_each_stand_as_they_should() {
    let site = Site::new(TIMED);
    let reloads = || {
        site.host.run(&["sh", "-c", "journalctl -b --no-pager _PID=1 | grep -c 'Reloading\\.' || true"]).parse::<u32>().unwrap()
    };
    let before = reloads();
    site.converge();
    // What enables reloads by itself: one more for each of the three calls of it at most.
    assert!(reloads() - before <= 4, "systemd read its units {} times", reloads() - before);
    assert_eq!(site.unit("report.timer", "ActiveState"), "active");
    assert_eq!(site.unit("talk.socket", "SubState"), "listening");
    assert_eq!(site.unit("spare.service", "ActiveState"), "inactive");
    assert_eq!(site.unit("talk.service", "ActiveState"), "inactive", "its socket starts it");
    assert!(!site.host.try_run(&["test", "-e", "/var/lib/report"]).status.success(), "its timer starts it");
    assert_eq!(site.host.read("/var/lib/once"), "once");

    site.define(&TIMED.replace("echo once", "echo twice").replace("yearly", "monthly"));
    site.converge();
    assert_eq!(site.host.read("/var/lib/once"), "once\ntwice", "it ran once for each text");
    assert!(site.unit("report.timer", "TimersCalendar").contains("*-*-01"));

    site.host.run(&["systemctl", "start", "spare.service"]);
    assert_eq!(site.changes(), [change("unit.spare", "update", &["state"])]);
    site.converge();

    site.define("");
    site.apply();
    for name in ["report.timer", "report.service", "talk.socket", "once.service", "spare.service"] {
        assert_eq!(site.unit(name, "LoadState"), "not-found", "{name}");
        assert_eq!(site.unit(name, "ActiveState"), "inactive", "{name}");
    }
    assert_eq!(site.host.run(&["sh", "-c", "ls /etc/systemd/system/*.wants | grep -cE 'report|talk|once' || true"]), "0");
}

#[test]
fn a_unit_that_a_package_brings_is_only_seen_to_and_stays_when_it_is_no_longer_defined() {
    let config = "[file.config]\npath = \"/etc/vendor.conf\"\ncontent = \"one\"\n";
    let vendor =
        "[unit.vendor]\nname = \"vendor.service\"\nstate = \"running\"\nenabled = true\nrestart_on = [\"file.config\"]\n";
    let site = Site::new(&format!("{config}{vendor}"));
    let ran = site.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("vendor.service"), "it is not there: {}", said(&ran));
    site.host.write("/lib/systemd/system/vendor.service", ENGINE);
    site.host.run(&["systemctl", "daemon-reload"]);
    site.converge();
    let first = run_of(&site, "vendor.service");
    site.define(&format!("{}{vendor}", config.replace("one", "two")));
    site.converge();
    assert_ne!(run_of(&site, "vendor.service"), first);

    // A text of ours would hide the package's.
    site.define(&format!("[unit.vendor]\ncontent = {ENGINE:?}\n"));
    let ran = site.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("package"), "{}", said(&ran));
    site.define(config);
    let before = run_of(&site, "vendor.service");
    site.apply();
    assert_eq!(run_of(&site, "vendor.service"), before, "it stays as it is");

    site.host.run(&["sh", "-c", "systemctl stop vendor; systemctl disable vendor; systemctl mask vendor"]);
    site.define(&format!("{config}{vendor}"));
    let ran = site.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("masked"), "{}", said(&ran));
}

#[test]
fn a_unit_that_somebody_else_wrote_is_not_touched() {
    let site = Site::new(&engine(ENGINE, "one"));
    site.host.write("/etc/systemd/system/engine.service", "[Service]\nExecStart=/bin/sleep 777\n");
    let ran = site.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("adopt"), "{}", said(&ran));
    assert!(site.host.read("/etc/systemd/system/engine.service").contains("777"));
    site.define(&(engine(ENGINE, "one") + "adopt = true\n"));
    site.converge();
    // What a person wrote into it since is not deleted with it.
    site.host.run(&["sh", "-c", "echo '# mine' >> /etc/systemd/system/engine.service"]);
    site.define("");
    let ran = site.trunkline(&["apply"]);
    assert!(site.host.read("/etc/systemd/system/engine.service").contains("# mine"), "{}", said(&ran));
    run_of(&site, "engine.service");
}

#[test]
fn killed_at_any_instant_it_converges_and_has_started_anew() {
    let site = Site::new(&engine(ENGINE, "one"));
    site.converge();
    let names =
        ["before_host_intent", "after_host_intent", "after_candidate", "after_rename", "before_host_record", "after_host_record"];
    let mut number = 0;
    for name in names {
        for nth in 1..=4 {
            number += 1;
            let before = run_of(&site, "engine.service");
            site.define(&engine(&ENGINE.replace("Engine", &format!("Engine {number}")), &format!("{number}")));
            let kill = format!("TRUNKLINE_KILL_AT={name}#{nth}");
            let ran = site.trunkline_with(&[&kill, "TRUNKLINE_BOUNDARIES=/root/boundaries"], &["apply"]);
            site.host.run(&["rm", "-f", "/root/boundaries"]);
            let killed = ran.status != 0;
            site.converge();
            let after = run_of(&site, "engine.service");
            assert_ne!(after, before, "{name}#{nth}: it must run with what is new");
            assert_eq!(site.unit("engine.service", "Description"), format!("Engine {number}"));
            assert_eq!(site.host.read("/etc/engine.conf"), format!("{number}"));
            if !killed {
                break;
            }
        }
    }
    assert!(number > names.len(), "some were reached");
}

#[test]
fn what_is_wrong_with_a_unit_is_said_before_anything_happens() {
    let site = Site::new("");
    let wrong = [
        ("[unit.a]\nname = \"../../x.service\"\ncontent = \"[Service]\\n\"", "is not the name of a unit"),
        ("[unit.a]\nname = \"ssh.service\"\nstate = \"stopped\"", "one of the system's own"),
        ("[unit.a]\nname = \"-x.service\"\ncontent = \"[Service]\\n\"", "is not the name of a unit"),
        ("[unit.a]\ncontent = \"[Unit]\\n\"", "no section `[Service]`"),
        ("[unit.a]\ncontent = \"[Service]\\nExecStart=/bin/true\\n\"\nenabled = true", "no section `[Install]`"),
        ("[unit.a]\ncontent = \"x\"\nsource = \"y\"", "cannot both be the content of a unit"),
        ("[unit.a]", "nothing is said of this unit"),
        ("[unit.a]\ncontent = \"[Service]\\n\"\nrestart_on = [\"file.nothing\"]", "there is no `file.nothing`"),
        ("[unit.a]\ncontent = \"[Service]\\n\"\nrestart_on = [\"unit.a\"]", "nothing whose change starts"),
        ("[unit.a]\ncontent = \"[Service]\\n\"\nstate = \"restarted\"", "state"),
        (
            "[unit.a]\ntemplate = \"unit.service\"\nvars = { who = \"a\\nExecStartPost=/bin/id\" }",
            "a value in a unit is one line",
        ),
        ("[unit.a]\ntemplate = \"secret.service\"", "a secret cannot stand in a unit"),
        (
            "[unit.a]\ncontent = \"[Service]\\n\"\n[unit.b]\nname = \"a.service\"\ncontent = \"[Service]\\n\"",
            "both claim the unit",
        ),
    ];
    site.write("unit.service", "[Service]\nExecStart=/bin/echo {{ vars.who }}\n");
    site.write("secret.service", "[Service]\nEnvironment=KEY={{ secret(\"digest-key\") }}\nExecStart=/bin/true\n");
    for (text, message) in wrong {
        site.write("environments/production/production.toml", text);
        let ran = site.check();
        assert!(ran.status != 0 && said(&ran).contains(message), "{text}\n{}", said(&ran));
    }
    site.define("[unit.a]\ntemplate = \"unit.service\"\nvars = { who = \"100%n\" }\n");
    site.converge();
    assert!(site.host.read("/etc/systemd/system/a.service").contains("/bin/echo 100%%n"));
}
