//! Workers and what else the platform keeps, through the REST API: behaviours seen from outside, with every call counted. The API is the
//! edge's own, with the real workerd behind it.

mod account;
mod changes;
mod faults;
mod foreign;
mod generated;
mod kinds;
mod objects;
mod properties;
mod rate;
mod rollout;
mod settings;
mod tunnels;
mod undeployed;
mod world;
mod wrangler;
