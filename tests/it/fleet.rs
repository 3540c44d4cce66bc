//! Hosts over SSH: on loopback, and on a fleet of machines with systemd and a real sshd.

mod agent;
pub(crate) mod bed;
mod hosts;
mod image;
mod loopback;
mod refusals;
pub(crate) mod site;
mod sshd;
mod units;
