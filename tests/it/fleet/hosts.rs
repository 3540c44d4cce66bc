//! A fleet of machines, from a repository: selected, converged, healed, cut off, replaced.

use super::bed::{Host, user_key};
use super::site::Site;

/// The fleet's file: each host with its labels, region and values.
fn fleet(hosts: &[Host], more: &str) -> String {
    let table = |(at, host): (usize, &Host)| {
        let region = if at == 0 { "eu" } else { "us" };
        format!(
            "[host.{0}]\n{1}region = \"{region}\"\nlabels = {{ role = \"origin\", number = \"{at}\" }}\nvars = {{ workers = {2} }}\n{more}\n",
            host.name,
            host.table("root"),
            at + 1
        )
    };
    hosts.iter().enumerate().map(table).collect()
}

const ENGINE: &str =
    "name = {{ host.name }}\nregion = {{ host.region }}\nnumber = {{ host.labels.number }}\nworkers = {{ host.vars.workers }}\n";

const PRODUCTION: &str = r#"[file.engine]
on = { role = "origin" }
path = "/etc/engine/engine.conf"
template = "files/engine.conf"

[file.eu]
on = { role = "origin", region = "eu" }
path = "/etc/engine/eu.conf"
content = "eu\n"
"#;

fn site(hosts: &[Host], more: &str) -> Site {
    let site = Site::new(&user_key());
    site.write("fleet/hosts.toml", &fleet(hosts, more));
    site.write("files/engine.conf", ENGINE);
    site.write("environments/production.toml", PRODUCTION);
    site
}

#[test]
fn a_fleet_converges_heals_rolls_back_and_lets_go_at_one_command_a_pass() {
    let hosts = Host::leases(2);
    let site = site(&hosts, "");
    site.merge("The engine");
    let engine = |host: &Host| host.read("/etc/engine/engine.conf");
    let named = |host: &Host, region: &str, at: usize| {
        format!("name = {}\nregion = {region}\nnumber = {at}\nworkers = {}", host.name, at + 1)
    };
    assert_eq!(engine(&hosts[0]), named(&hosts[0], "eu", 0));
    assert_eq!(engine(&hosts[1]), named(&hosts[1], "us", 1));
    assert_eq!(hosts[0].read("/etc/engine/eu.conf"), "eu");
    assert!(!hosts[1].try_run(&["test", "-e", "/etc/engine/eu.conf"]).status.success());

    // A look at what is as it should be: one command on each host. A change: one more, on those that it is for.
    let count = || hosts.iter().map(Host::commands).collect::<Vec<_>>();
    let before = count();
    site.apply();
    assert_eq!(count(), before.iter().map(|count| count + 1).collect::<Vec<_>>(), "a pass with nothing to do");
    let before = count();
    site.write("environments/production.toml", &PRODUCTION.replace("eu\\n", "europe\\n"));
    site.merge("Another text");
    assert_eq!(count(), [before[0] + 2, before[1] + 1], "a pass with one change");
    assert_eq!(hosts[0].read("/etc/engine/eu.conf"), "europe");

    hosts[1].write("/etc/engine/engine.conf", "by hand");
    site.apply();
    assert_eq!(engine(&hosts[1]), named(&hosts[1], "us", 1));

    site.git(&["revert", "--no-edit", "HEAD"]);
    site.merge("and that");
    assert_eq!(hosts[0].read("/etc/engine/eu.conf"), "eu");

    // A restart in between, and a machine that was made anew: Git and the store are all that it takes.
    hosts[0].restart();
    site.apply();
    hosts[1].replace();
    site.apply();
    assert_eq!(engine(&hosts[1]), named(&hosts[1], "us", 1));

    site.write("environments/production.toml", "[environment]\nretire = true\n");
    site.merge("The end");
    for host in &hosts {
        assert!(!host.try_run(&["test", "-e", "/etc/engine"]).status.success());
    }
}

#[test]
fn a_host_that_is_cut_off_is_waited_for_skipped_or_a_reason_to_stop() {
    let hosts = Host::leases(2);
    let site = site(&hosts, "");
    site.merge("The engine");
    let change = |more: &str, text: &str| {
        site.write("fleet/hosts.toml", &fleet(&hosts, more));
        site.write("files/engine.conf", text);
        site.commit(text);
    };
    let engine = |host: &Host| host.read("/etc/engine/engine.conf");
    hosts[1].plug(false);

    change("", "one");
    let ran = site.run(&["apply"]);
    assert_ne!(ran.status, Some(0), "{ran:?}");
    assert_eq!(engine(&hosts[0]), "one");
    let condition = site.condition();
    assert!(condition.starts_with("Reconciling") && condition.contains(&hosts[1].address.to_string()), "{condition}");
    assert!(condition.contains("cannot be reached"), "{condition}");

    change("offline = \"skip\"", "two");
    site.apply();
    assert_eq!(engine(&hosts[0]), "two");
    let condition = site.condition();
    assert!(condition.starts_with("Ready") && condition.contains("without `"), "{condition}");

    change("offline = \"fail\"", "three");
    let ran = site.run(&["apply"]);
    assert_ne!(ran.status, Some(0), "{ran:?}");
    assert_eq!(engine(&hosts[0]), "two");

    // Nothing was done to the one that was away; back, it has its share.
    assert!(engine(&hosts[1]).starts_with("name = "));
    hosts[1].plug(true);
    site.apply();
    assert_eq!((engine(&hosts[0]).as_str(), engine(&hosts[1]).as_str()), ("three", "three"));
    assert!(site.condition().starts_with("Ready"), "{}", site.condition());
}
