//! Applications of PM2: what is wrong with one, and the ecosystem file that is shipped.

use std::path::Path;

use super::pm2::{api, install, list, pm2, run_of, said};
use super::site::Site;

#[test]
fn what_is_wrong_with_an_application_is_said_before_anything_happens() {
    let site = Site::new("");
    let with = |line: &str| format!("[pm2.api]\nscript = \"/srv/api.js\"\n{line}");
    let wrong = [
        ("[pm2.api]".to_owned(), "the key `script` is missing"),
        ("[pm2.api]\nscript = \"server.js\"".to_owned(), "is not an absolute path"),
        ("[pm2.api]\nscript = \"/srv/my app.js\"".to_owned(), "would read otherwise"),
        (with("name = \"all\""), "is not a name that PM2 takes"),
        (with("name = \"7\""), "is not a name that PM2 takes"),
        (with("name = \"-f\""), "is not a name that PM2 takes"),
        (with("name = \"../x\""), "is not a name that PM2 takes"),
        (with("name = \"pm2-logrotate\""), "PM2's own modules"),
        (with("user = \"a b\""), "is not a user"),
        (with("user = \"1000\""), "is the number of an account"),
        (with("pm2 = \"pm2\""), "is not an absolute path"),
        (with("args = [\"a\\nb\"]"), "cannot be an argument"),
        (with("args = \"a b\""), "args"),
        (with("cwd = \"srv\""), "is not an absolute path"),
        (with("interpreter = \"python3\""), "is no interpreter"),
        (with("interpreter_args = [\"\"]"), "cannot be an argument"),
        (with("instances = 0"), "no number of instances"),
        (with("instances = \"many\""), "no number of instances"),
        (with("instances = true"), "expected a number, or `max`"),
        (with("exec_mode = \"forked\""), "is not known here"),
        (with("exec_mode = \"cluster\"\ninterpreter = \"none\""), "only Node.js itself runs in a cluster"),
        (with("env = { PM2_HOME = \"/x\" }"), "is not yours to set"),
        (with("env = { pm_exec_path = \"/x\" }"), "one of PM2's own settings"),
        (with("env = { A = { secret = \"none\" } }"), "none"),
        (with("env = { A = \"a\\nb\" }"), "several lines"),
        (with("max_memory_restart = \"much\""), "is no amount of memory"),
        (with("min_uptime = 0"), "is out of bounds"),
        (with("max_restarts = -1"), "is out of bounds"),
        (with("restart_delay = 0"), "is out of bounds"),
        (with("exp_backoff_restart_delay = 0"), "is out of bounds"),
        (with("kill_timeout = 99999999"), "is out of bounds"),
        (with("listen_timeout = 0"), "is out of bounds"),
        (with("autorestart = \"yes\""), "autorestart"),
        (with("cron_restart = \"daily\""), "is no cron expression"),
        (with("watch = [\"x\"]"), "watch"),
        (with("out_file = \"log\""), "is not an absolute path"),
        (with("error_file = \"~/log\""), "would read otherwise"),
        (with("merge_logs = 1"), "merge_logs"),
        (with("time = 1"), "time"),
        (with("wait_ready = 1"), "wait_ready"),
        (with("state = \"restarted\""), "is not known here"),
        (with("restart_on = [\"file.nothing\"]"), "there is no `file.nothing`"),
        (with("adopt = 1"), "adopt"),
        (with("[pm2.b]\nname = \"api\"\nscript = \"/x.js\""), "both claim the pm2 `root/api`"),
        (with("namespace = \"x\""), "unknown key `namespace`"),
    ];
    for (text, message) in wrong {
        site.write("environments/production/production.toml", &text);
        let ran = site.check();
        assert!(ran.status != 0 && said(&ran).contains(message), "{text}\n{}", said(&ran));
    }
    // Without PM2 on the host, that is said.
    site.define(&api(""));
    let ran = site.trunkline(&["apply"]);
    assert!(ran.status != 0 && said(&ran).contains("npm install --global pm2"), "{}", said(&ran));
}

#[test]
fn the_ecosystem_file_that_is_shipped_is_started_by_pm2_and_the_daemon_and_the_edge_answer() {
    let motd = |text: &str| format!("[file.motd]\npath = \"/etc/motd\"\ncontent = \"{text}\"\nadopt = true\n");
    let site = Site::new(&motd("one"));
    install(&site.host);
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/ecosystem.config.cjs");
    site.copy(&deploy, "/root/ecosystem.config.cjs");
    let settings = "[repository]\nremote = \"/root/remote.git\"\npoll = \"1s\"\n";
    site.host.run(&["sh", "-c", "mkdir -m 700 /root/.trunkline; cp /root/identity /root/.trunkline/identity; umask 077; echo token-of-the-edge-0123456789abcdef > /root/.trunkline/edge-token"]);
    site.host.write("/root/.trunkline/daemon.toml", settings);
    pm2(&site, "root", &["start", "/root/ecosystem.config.cjs"]);
    let wait = |what: &str, holds: &dyn Fn() -> bool| {
        let begun = std::time::Instant::now();
        while !holds() {
            let logs = || site.host.run(&["sh", "-c", "tail -n 20 /root/.pm2/logs/* /root/.pm2/pm2.log"]);
            assert!(begun.elapsed().as_secs() < 60, "{what}: {}", logs());
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    };
    wait("the first revision", &|| site.host.read("/etc/motd") == "one");
    site.define(&motd("two"));
    wait("the next revision", &|| site.host.read("/etc/motd") == "two");
    let get = "fetch('http://127.0.0.1:8787/client/v4/user/tokens/verify',{headers:{authorization:'Bearer token-of-the-edge-0123456789abcdef'}}).then(r=>process.exit(r.status<500?0:1),()=>process.exit(1))";
    wait("the edge", &|| site.host.try_run(&["node", "-e", get]).status.success());
    for name in ["trunkline", "trunkline-edge"] {
        run_of(&site, name);
        let own = list(&site, "root", name);
        assert_eq!((&own[0]["restart_time"], &own[0]["exec_interpreter"]), (&0.into(), &"none".into()), "{name}");
    }
    // A daemon that is told to stop ends by itself, and is not killed.
    pm2(&site, "root", &["stop", "trunkline"]);
    assert_eq!(list(&site, "root", "trunkline")[0]["exit_code"], 0);
}
