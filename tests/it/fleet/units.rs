//! What needs each other on a host, over SSH: one command to look, one to change, however long the chain.

use super::bed::{Host, user_key};
use super::site::Site;

/// A directory, files in it, and a service that starts anew when one of them changes.
fn chain(level: &str) -> String {
    let files: String = (0..30)
        .map(|at| format!("[file.part-{at}]\npath = \"/etc/engine/parts/{at}\"\ncontent = \"{level} {at}\\n\"\n"))
        .collect();
    format!(
        "[directory.parts]\npath = \"/etc/engine/parts\"\nmode = \"0750\"\n{files}[unit.engine]\ncontent = \"[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n\"\nrestart_on = [\"file.part-7\"]\n"
    )
}

#[test]
fn a_directory_its_files_and_the_unit_that_reads_them_are_one_request() {
    let host = Host::lease();
    let site = Site::new(&user_key());
    site.write("fleet/hosts.toml", &format!("[host.{}]\n{}", host.name, host.table("root")));
    site.write("environments/production.toml", &chain("one"));
    site.merge("The engine");
    let run = || host.run(&["systemctl", "show", "-P", "InvocationID", "engine.service"]);
    let first = run();
    assert_eq!(host.run(&["systemctl", "is-active", "engine.service"]), "active");

    let before = host.commands();
    site.apply();
    assert_eq!((host.commands(), run()), (before + 1, first.clone()), "a look at what is as it should be");
    site.write("environments/production.toml", &chain("two"));
    let before = host.commands();
    site.merge("Another level");
    assert_eq!(host.commands(), before + 2, "a look and a change, of 31 things in three steps");
    assert_ne!(run(), first);
    assert_eq!(host.read("/etc/engine/parts/29"), "two 29");

    site.write("environments/production.toml", "");
    site.merge("Nothing");
    assert!(!host.try_run(&["test", "-e", "/etc/engine"]).status.success(), "everything goes, in the other order");
    assert_eq!(host.run(&["systemctl", "show", "-P", "LoadState", "engine.service"]), "not-found");
}

#[test]
fn an_application_of_pm2_is_looked_at_and_changed_over_ssh_by_somebody_who_becomes_root() {
    let host = Host::lease();
    crate::hosted::pm2::install(&host);
    host.run(&["mkdir", "/srv/api"]);
    host.write("/srv/api/server.js", "setInterval(() => {}, 1000)\n");
    let site = Site::new(&user_key());
    site.write("fleet/hosts.toml", &format!("[host.{}]\n{}become = true\n", host.name, host.table("deploy")));
    let api =
        |user: &str, port: &str| format!("[pm2.api]\nuser = \"{user}\"\nscript = \"/srv/api/server.js\"\nargs = [\"{port}\"]\n");
    site.write("environments/production.toml", &api("deploy", "80"));
    site.merge("The application");
    let process = |user: &str| host.run(&["pgrep", "-u", user, "-f", "^node /srv/api/server.js"]);
    let first = process("deploy");
    let before = host.commands();
    site.apply();
    assert_eq!((host.commands(), process("deploy")), (before + 1, first.clone()));
    site.write("environments/production.toml", &api("deploy", "81"));
    site.merge("Another port");
    assert_ne!(process("deploy"), first);
    site.write("environments/production.toml", &api("root", "81"));
    site.merge("Another account");
    process("root");
    assert!(!host.try_run(&["pgrep", "-u", "deploy", "-f", "^node /srv/api/server.js"]).status.success());
}
