//! Files to desired state: schema, bases, references, validation, rendering; all faults at once.
//!
//! Goes in: a [`crate::model::Tree`] and the name of an environment. Comes out: a [`Resolution`]: a bundle, or every
//! fault of every file with its place, and everything that was read.
//!
//! Two types per format: the written types (the module `written`, from which [`json_schema`] is made) and the true
//! ones of [`crate::model`]. Paths in the files of a tenant are from that tenant's folder.
//!
//! **Invariant:** pure but for the tree; no clock. The same tree gives the same bytes. No secret is opened here. No
//! input makes it panic, and no input makes it read or keep more than the bounds of [`limit`].

mod address;
mod assets;
mod bindings;
mod body;
mod build;
mod cache;
mod connect;
mod contested;
mod cron;
mod durable;
mod fields;
mod file;
mod fleet;
mod hosted;
mod hosts;
mod ignore;
mod layer;
pub mod limit;
mod modules;
mod origin;
mod paths;
mod platform;
mod purge;
mod reading;
mod references;
mod repository;
mod resolve;
mod rollout;
mod scalar;
mod schema;
mod scope;
mod selector;
mod settings;
mod target;
mod target_tables;
mod template;
mod worker;
mod written;

pub use cache::Cache;
pub use contested::contested;
pub use fields::{Field, Form, How, Shown, fields, fields_of};
pub use repository::{defines, environments};
pub use resolve::{Resolution, resolve};
pub use schema::json_schema;
