//! Hosts over SSH: on loopback, and on a fleet of machines with systemd and a real sshd.

pub(crate) mod bed;

use bed::Host;

#[test]
fn each_host_is_as_new_and_runs_what_is_built_here() {
    let hosts = Host::leases(2);
    assert_ne!(hosts[0].address, hosts[1].address);
    hosts[0].write("/etc/left-behind", "x");
    assert_eq!(hosts[0].read("/etc/left-behind"), "x");
    hosts[0].replace();
    assert!(!hosts[0].try_run(&["test", "-e", "/etc/left-behind"]).status.success());
    hosts[0].restart();
    assert_eq!(hosts[0].run(&["uname", "-s"]), "Linux");
}
