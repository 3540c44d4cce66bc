//! The one integration binary: each file is named for a behaviour.
mod cloudflare;
mod definition;
mod edge;
mod host;
mod house;
mod planning;
mod policy;
mod source;
