//! The one integration binary: each file is named for a behaviour.
mod cloudflare;
mod definition;
mod edge;
mod house;
mod host;
mod planning;
mod policy;
mod source;
