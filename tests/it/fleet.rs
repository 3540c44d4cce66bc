//! Hosts over SSH: on loopback, and on a fleet of machines with systemd and a real sshd.

pub(crate) mod bed;
mod hosts;
mod loopback;
mod refusals;
pub(crate) mod site;
mod sshd;
