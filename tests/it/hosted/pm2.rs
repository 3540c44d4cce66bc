//! Applications of the real PM2, on hosts of the fleet.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::site::Site;
use crate::fleet::bed::Host;
use crate::world::Ran;

/// What of `tests/npm` PM2 does not need.
const OTHERS: [&str; 8] = ["@cloudflare", "workerd", "wrangler", "@img", "sharp", "esbuild", "@esbuild", "miniflare"];

/// Node.js and PM2 as `tests/npm` pins it, as `npm install --global pm2` leaves them.
pub(crate) fn install(host: &Host) {
    let npm = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.cache/npm");
    assert!(npm.join("node_modules/pm2").is_dir(), "PM2 is not installed: run `tests/run`");
    let folder = tempfile::tempdir().unwrap();
    let tar = folder.path().join("pm2.tar");
    let mut command = Command::new("tar");
    command.arg("-C").arg(&npm).arg("-cf").arg(&tar).args(OTHERS.map(|name| format!("--exclude=node_modules/{name}")));
    assert!(command.arg("node_modules").status().unwrap().success());
    let node = Command::new("sh").args(["-c", "readlink -f \"$(command -v node)\""]).output().unwrap();
    host.put(Path::new(String::from_utf8(node.stdout).unwrap().trim()), "/usr/bin/node");
    host.put(&tar, "/opt/pm2.tar");
    host.run(&["sh", "-c", "cd /opt && tar --no-same-owner -xf pm2.tar && rm pm2.tar"]);
    host.run(&["ln", "-s", "/opt/node_modules/pm2/bin/pm2", "/usr/local/bin/pm2"]);
    let version = host.run(&["env", "PM2_HOME=/tmp/none", "node", "-p", "require('/opt/node_modules/pm2/package.json').version"]);
    assert_eq!(version, "7.0.4");
}

const SERVER: &str = "const fs = require('fs');
fs.writeFileSync(`${process.env.OUT || '/tmp'}/api-${process.env.NODE_APP_INSTANCE}`, JSON.stringify({ args: process.argv.slice(2),
  cwd: process.cwd(), key: process.env.KEY, level: process.env.LEVEL, user: process.getuid(), groups: process.getgroups() }));
setInterval(() => {}, 1000);
";

/// A host with PM2, and a server to run.
fn site() -> Site {
    let site = Site::new("");
    install(&site.host);
    site.host.run(&["mkdir", "-p", "/srv/api"]);
    site.host.write("/srv/api/server.js", SERVER);
    site.host.write("/srv/api/bad.js", "console.log('no'); process.exit(7);\n");
    site
}

pub(super) fn api(more: &str) -> String {
    format!("[pm2.api]\nscript = \"/srv/api/server.js\"\n{more}")
}

pub(super) fn said(ran: &Ran) -> String {
    format!("{}\n{}", ran.out, ran.err)
}

/// PM2 of an account, as a person there.
pub(super) fn pm2(site: &Site, user: &str, words: &[&str]) -> String {
    let home = if user == "root" { "/root".to_owned() } else { format!("/home/{user}") };
    let environment = [format!("HOME={home}"), "PATH=/usr/local/bin:/usr/bin:/bin".to_owned()];
    let account = ["setpriv", &format!("--reuid={user}"), &format!("--regid={user}"), "--init-groups"].map(str::to_owned);
    let mut all: Vec<&str> = account.iter().map(String::as_str).chain(["env", "-i"]).collect();
    all.extend(environment.iter().map(String::as_str));
    all.push("pm2");
    all.extend(words);
    site.host.run(&all)
}

/// The instances of an application.
pub(super) fn list(site: &Site, user: &str, name: &str) -> Vec<Value> {
    let listed = pm2(site, user, &["jlist"]);
    let listed: Vec<Value> = serde_json::from_str(listed.lines().last().unwrap()).unwrap();
    listed.into_iter().map(|mut process| process["pm2_env"].take()).filter(|process| process["name"] == name).collect()
}

/// Which run of an application there is; it is online.
pub(super) fn run_of(site: &Site, name: &str) -> String {
    let own = list(site, "root", name);
    assert!(!own.is_empty() && own.iter().all(|process| process["status"] == "online"), "{name}: {own:#?}");
    own.iter().map(|process| format!("{}-{}", process["unique_id"], process["pm_uptime"])).collect()
}

fn change(address: &str, action: &str, fields: &[&str]) -> (String, String, Vec<String>) {
    (format!("production/{address}"), action.to_owned(), fields.iter().map(|&field| field.to_owned()).collect())
}

#[test]
fn an_application_runs_as_it_is_defined_and_is_started_anew_exactly_when_that_changes() {
    let site = site();
    site.secret("key", "value-of-the-key-4711");
    let text = |level: &str| {
        api(&format!(
            "args = [\"--port\", \"80 80\"]\ncwd = \"/srv\"\ninterpreter_args = [\"--max-old-space-size=100\"]\nenv = {{ LEVEL = \"{level}\", KEY = {{ secret = \"key\" }} }}\ninstances = 2\nmax_memory_restart = \"512M\"\ntime = true\nkill_timeout = 500\n"
        ))
    };
    site.define(&text("info"));
    site.converge();
    let first = run_of(&site, "api");
    let own = list(&site, "root", "api");
    assert_eq!(own.len(), 2);
    assert_eq!((&own[0]["exec_mode"], &own[0]["kill_timeout"]), (&"fork_mode".into(), &500.into()));
    let wrote: Value = serde_json::from_str(&site.host.read("/tmp/api-1")).unwrap();
    assert_eq!(wrote["args"], serde_json::json!(["--port", "80 80"]));
    assert_eq!(
        (&wrote["cwd"], &wrote["key"], &wrote["level"]),
        (&"/srv".into(), &"value-of-the-key-4711".into(), &"info".into())
    );

    // What has nothing to do with it, and what is written otherwise and means the same.
    site.define(
        &(text("info").replace("time = true", "time = true\nwatch = false\nexec_mode = \"fork\"")
            + "[file.motd]\npath = \"/etc/motd\"\ncontent = \"x\"\nadopt = true\n"),
    );
    site.converge();
    assert_eq!(run_of(&site, "api"), first);

    site.define(&text("debug"));
    let changes = site.changes();
    assert_eq!(changes[0], change("pm2.api", "update", &["env.LEVEL"]));
    site.converge();
    let second = run_of(&site, "api");
    assert_ne!(second, first);
    site.secret("key", "another-value-4712");
    site.commit();
    assert_eq!(site.changes(), [change("pm2.api", "update", &["env.KEY"])]);
    site.converge();
    assert_ne!(run_of(&site, "api"), second);
    let wrote: Value = serde_json::from_str(&site.host.read("/tmp/api-0")).unwrap();
    assert_eq!((&wrote["key"], &wrote["level"]), (&"another-value-4712".into(), &"debug".into()));

    // A machine that was turned off and on: PM2 is down, and has saved what it ran.
    site.host.restart();
    assert_eq!(site.changes(), [change("pm2.api", "update", &["state"])]);
    site.converge();
    run_of(&site, "api");

    site.define("");
    site.converge();
    assert!(list(&site, "root", "api").is_empty());
    assert_eq!(site.host.read("/root/.pm2/dump.pm2"), "[]", "nothing brings it back");
}

#[test]
fn no_secret_is_in_a_plan_in_an_argument_or_in_a_file_that_others_can_read() {
    const VALUE: &str = "value-of-the-key-4711";
    let site = site();
    site.secret("key", VALUE);
    site.define(&api("env = { KEY = { secret = \"key\" } }\n"));
    // Whoever looks at the arguments of all that runs, while it is applied and after.
    site.host.write("/root/spy", "#!/bin/sh\nwhile sleep 0.02; do for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $f; echo; done; done > /root/seen 2>/dev/null\n");
    site.host.run(&["sh", "-c", "chmod 755 /root/spy; setsid /root/spy > /dev/null 2>&1 < /dev/null & echo $! > /root/spy.pid"]);
    let ran = site.converge();
    site.host.run(&["sh", "-c", "kill $(cat /root/spy.pid)"]);
    assert!(site.host.read("/tmp/api-0").contains(VALUE), "it has it");
    let seen = site.host.read("/root/seen");
    assert!(seen.contains("/usr/local/bin/pm2 start -"), "the spy saw what was started");
    assert!(!seen.contains(VALUE));
    for text in
        [said(&ran), site.trunkline(&["plan", "--output", "json"]).out, site.trunkline(&["status", "--output", "json"]).out]
    {
        assert!(!text.contains(VALUE), "{text}");
    }
    let found = site.host.run(&["sh", "-c", &format!("grep -rls -- {VALUE} /root /var /etc /opt/pm2* /srv || true")]);
    let files: Vec<&str> = found.lines().collect();
    assert!(files.iter().all(|file| file.starts_with("/root/.pm2/dump.pm2")), "{found}");
    for file in files {
        assert_eq!(site.host.run(&["stat", "-c", "%a %U", file]), "600 root", "{file}");
    }
    // One that was there before, readable by others, is closed.
    site.host.run(&["chmod", "644", "/root/.pm2/dump.pm2"]);
    site.define(&api("env = { KEY = { secret = \"key\" }, MORE = \"x\" }\n"));
    site.converge();
    assert_eq!(site.host.run(&["stat", "-c", "%a", "/root/.pm2/dump.pm2", "/root/.pm2/dump.pm2.bak"]), "600\n600");
}

#[test]
fn what_people_did_to_an_application_is_seen_by_field_and_put_right_and_others_are_left_alone() {
    let site = site();
    pm2(&site, "root", &["start", "/srv/api/server.js", "--name", "theirs"]);
    let theirs = run_of(&site, "theirs");
    site.define(&api("instances = 2\nexec_mode = \"cluster\"\nmax_memory_restart = \"512M\"\nargs = [\"a\"]\n"));
    site.converge();
    let heal = |words: &[&str], fields: &[&str]| {
        pm2(&site, "root", words);
        assert_eq!(site.changes(), [change("pm2.api", "update", fields)], "{words:?}");
        site.converge();
        assert_eq!(list(&site, "root", "api").len(), 2, "{words:?}");
        run_of(&site, "api");
    };
    heal(&["stop", "api"], &["state"]);
    let one = list(&site, "root", "api")[0]["pm_id"].to_string();
    heal(&["stop", &one], &["state"]);
    heal(&["scale", "api", "3"], &["instances"]);
    heal(&["restart", "api", "--max-memory-restart", "100M"], &["max_memory_restart"]);
    heal(&["restart", "api", "--cron-restart", "0 4 * * *"], &["cron_restart"]);
    pm2(&site, "root", &["delete", "api"]);
    assert_eq!(
        site.changes(),
        [change("pm2.api", "create", &site.changes()[0].2.iter().map(String::as_str).collect::<Vec<_>>())]
    );
    site.converge();
    run_of(&site, "api");
    // Another one under its name.
    pm2(&site, "root", &["delete", "api"]);
    pm2(&site, "root", &["start", "/srv/api/server.js", "--name", "api", "--", "other"]);
    assert_eq!(site.changes()[0].1, "update");
    site.converge();
    assert_eq!(list(&site, "root", "api")[0]["args"], serde_json::json!(["a"]));

    site.define(&api("instances = 2\nexec_mode = \"cluster\"\nstate = \"stopped\"\n"));
    site.converge();
    assert!(list(&site, "root", "api").iter().all(|process| process["status"] == "stopped"));
    site.define(&api("instances = 2\nexec_mode = \"cluster\"\n"));
    site.converge();
    run_of(&site, "api");
    site.define("");
    site.converge();
    assert_eq!(run_of(&site, "theirs"), theirs, "it was never touched");
    assert!(site.host.read("/root/.pm2/dump.pm2").contains("theirs"));
}

#[test]
fn nothing_stops_before_what_it_needs_is_there_and_one_that_does_not_run_is_taken_back() {
    let site = site();
    site.secret("key", "value-of-the-key-4711");
    let good = api("env = { KEY = { secret = \"key\" } }\n");
    site.define(&good);
    site.converge();
    let before = run_of(&site, "api");
    for (text, why) in [
        (good.replace("server.js", "none.js"), "there is no script `/srv/api/none.js`"),
        (good.clone() + "cwd = \"/srv/none\"\n", "there is no folder `/srv/none`"),
        (good.clone() + "interpreter = \"/usr/bin/none\"\n", "there is no interpreter `/usr/bin/none`"),
        (good.clone() + "interpreter = \"none\"\n", "may not enter or execute `/srv/api/server.js`"),
        (good.clone() + "pm2 = \"/opt/none/pm2\"\n", "there is no `/opt/none/pm2` on this host"),
    ] {
        site.define(&text);
        let ran = site.trunkline(&["apply"]);
        assert!(ran.status != 0 && said(&ran).contains(why), "{why}: {}", said(&ran));
        assert_eq!(run_of(&site, "api"), before, "it was not touched");
    }
    site.define(&good.replace("server.js", "bad.js"));
    let ran = site.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("did not come up; the former one is back, and runs"), "{}", said(&ran));
    assert!(said(&ran).contains("pm2 logs api"), "{}", said(&ran));
    assert_ne!(run_of(&site, "api"), before);
    assert!(site.host.read("/tmp/api-0").contains("value-of-the-key-4711"), "with the value of its secret");
    site.define(&good);
    site.converge();

    // One that is new and does not run is gone again; others of the same commit run.
    site.define(&format!("{good}[pm2.bad]\nscript = \"/srv/api/bad.js\"\n"));
    let ran = site.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("it was taken away again"), "{}", said(&ran));
    assert!(list(&site, "root", "bad").is_empty());
    run_of(&site, "api");

    // One that is not started again and ended well is as it was to be.
    site.host.write("/srv/api/job.js", "process.exit(0)\n");
    site.define(&format!("{good}[pm2.job]\nscript = \"/srv/api/job.js\"\nautorestart = false\n"));
    site.converge();
    site.host.write("/srv/api/job.js", "process.exit(3)\n");
    site.define(&format!("{good}[pm2.job]\nscript = \"/srv/api/job.js\"\nautorestart = false\nargs = [\"again\"]\n"));
    let ran = site.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("it ended, with status 3"), "{}", said(&ran));
}

#[test]
fn it_starts_anew_with_its_inputs_and_goes_back_with_a_rollback() {
    let site = site();
    let text = |port: &str, level: &str| {
        format!(
            "[file.config]\npath = \"/etc/api.conf\"\ncontent = \"{port}\"\n{}",
            api(&format!("env = {{ LEVEL = \"{level}\" }}\nexec_mode = \"cluster\"\nrestart_on = [\"file.config\"]\n"))
        )
    };
    let first = site.define(&text("80", "info"));
    site.converge();
    let (before, id) = (run_of(&site, "api"), list(&site, "root", "api")[0]["unique_id"].clone());
    site.define(&text("81", "info"));
    site.converge();
    let after = run_of(&site, "api");
    assert_ne!(after, before, "its configuration changed");
    assert_eq!(list(&site, "root", "api")[0]["unique_id"], id, "it was reloaded, not made anew");
    site.host.write("/etc/api.conf", "edited");
    assert_eq!(site.changes().len(), 2);
    site.converge();
    assert_ne!(run_of(&site, "api"), after);

    site.define(&text("81", "debug"));
    site.converge();
    let level = || serde_json::from_str::<Value>(&site.host.read("/tmp/api-0")).unwrap()["level"].clone();
    assert_eq!(level(), "debug");
    let ran = site.trunkline(&["rollback", "production", "--to", &first]);
    assert_eq!(ran.status, 0, "{}", said(&ran));
    assert_eq!(level(), "info");
    assert_eq!(site.host.read("/etc/api.conf"), "80");
    run_of(&site, "api");
}

#[test]
fn an_account_has_a_pm2_of_its_own_and_what_is_there_is_taken_over_only_when_asked() {
    let site = site();
    site.host.run(&["sh", "-c", "groupadd --force extra; usermod -aG extra deploy; mkdir /srv/out; chown deploy: /srv/out"]);
    pm2(&site, "deploy", &["start", "/srv/api/server.js", "--name", "api"]);
    let text = |more: &str| api(&format!("user = \"deploy\"\nenv = {{ OUT = \"/srv/out\" }}\n{more}"));
    let theirs = list(&site, "deploy", "api")[0]["unique_id"].clone();
    site.define(&text(""));
    let ran = site.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("adopt"), "{}", said(&ran));
    assert_eq!(list(&site, "deploy", "api")[0]["unique_id"], theirs);
    site.define(&text("adopt = true\n"));
    site.converge();
    assert_ne!(list(&site, "deploy", "api")[0]["unique_id"], theirs);
    let wrote: Value = serde_json::from_str(&site.host.read("/srv/out/api-0")).unwrap();
    let ids = |words: &[&str]| site.host.run(words).parse::<i64>().unwrap();
    assert_eq!(wrote["user"], ids(&["id", "-u", "deploy"]));
    let extra = ids(&["sh", "-c", "getent group extra | cut -d: -f3"]);
    assert!(wrote["groups"].as_array().unwrap().contains(&extra.into()), "{wrote}");
    assert_eq!(site.host.run(&["stat", "-c", "%a %U", "/home/deploy/.pm2/dump.pm2"]), "600 deploy");

    // Root's own is another one; to be somebody else's is to be another one.
    site.define(&api(""));
    site.converge();
    assert!(list(&site, "deploy", "api").is_empty());
    run_of(&site, "api");
    site.define(&api("name = \"api-two\"\n"));
    site.converge();
    assert!(list(&site, "root", "api").is_empty());
    run_of(&site, "api-two");
    site.define(&api("user = \"nobody-here\"\n"));
    let ran = site.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("no account `nobody-here`"), "{}", said(&ran));
}

#[test]
fn killed_at_any_instant_it_converges() {
    let site = site();
    site.define(&api("env = { N = \"0\" }\n"));
    site.converge();
    let names = ["before_host_intent", "after_host_intent", "before_host_record", "after_host_record", "after_effect"];
    for (number, name) in (1..).zip(names) {
        let before = run_of(&site, "api");
        site.define(&api(&format!("env = {{ N = \"{number}\" }}\n")));
        let kill = format!("TRUNKLINE_KILL_AT={name}#1");
        let ran = site.trunkline_with(&[&kill, "TRUNKLINE_BOUNDARIES=/root/boundaries"], &["apply"]);
        site.host.run(&["rm", "-f", "/root/boundaries"]);
        assert_ne!(ran.status, 0, "{name} was not reached");
        if name == "after_host_intent" {
            // As one leaves it that was killed a moment later.
            pm2(&site, "root", &["delete", "api"]);
        }
        site.converge();
        assert_ne!(run_of(&site, "api"), before, "{name}");
        assert_eq!(list(&site, "root", "api")[0]["env"]["N"], number.to_string());
    }
    // PM2 itself was killed, with all that it ran.
    site.host.run(&["sh", "-c", "kill -9 $(cat /root/.pm2/pm2.pid) && pkill -KILL -f 'server[.]js'"]);
    site.converge();
    run_of(&site, "api");
}
