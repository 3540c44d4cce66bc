//! Workers and KV namespaces through the REST API: behaviours seen from outside, with every call counted.

mod changes;
mod faults;
mod foreign;
mod stand_in;
mod world;
