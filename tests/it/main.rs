//! The one integration binary: each file is named for a behaviour.
mod cloudflare;
mod converge;
mod counts;
mod crash;
mod definition;
mod edge;
mod host;
mod house;
mod planning;
mod policy;
mod proxy;
mod refusals;
mod rollback;
mod source;
mod story;
mod sweep;
mod world;
