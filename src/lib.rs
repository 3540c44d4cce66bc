//! stub

pub mod agent;
pub mod apply;
pub mod cli;
pub mod daemon;
pub mod definition;
pub mod document;
pub mod edge;
pub mod model;
pub mod plan;
pub mod policy;
pub mod provider;
pub mod reconcile;
pub mod record;
pub mod secrets;
pub mod settings;
pub mod source;
pub mod status;
pub mod store;
pub mod trigger;
