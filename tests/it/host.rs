//! Files on a host, through the provider and the real executor, on roots in temporary folders. Run as root: owners are
//! given away, and a refusal must not come from a missing permission.

mod claims;
mod directories;
mod files;
mod kill;
mod refusals;
mod secret_files;
pub(crate) mod stage;
mod too_large;
mod units;
