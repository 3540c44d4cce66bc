//! Workers and KV namespaces through the REST API: behaviours seen from outside, with every call counted. The API is the
//! edge's own, with the real workerd behind it.

mod changes;
mod faults;
mod foreign;
mod rate;
mod settings;
mod undeployed;
mod world;
mod wrangler;
