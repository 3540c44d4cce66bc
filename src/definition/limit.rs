//! The bounds of what is read: a commit cannot make the daemon slow or large.

/// One TOML file, in bytes.
pub const TOML_FILE: u64 = 1024 * 1024;
/// All TOML files of one environment, its bases and fleet among them, in bytes.
pub const TOML_TOTAL: u64 = 4 * 1024 * 1024;
/// Files that one environment reads, of any sort.
pub const FILES: usize = 10_000;
/// The `source` of a file on a host, in bytes.
pub const SOURCE: u64 = 10 * 1024 * 1024;
/// All modules of one Worker together, in bytes.
pub const MODULES: u64 = 10 * 1024 * 1024;
/// Static files of one Worker; the platform itself takes 20,000.
pub const ASSETS: usize = 5_000;
/// One static file, in bytes: the platform's own bound.
pub const ASSET: u64 = 25 * 1024 * 1024;
/// All files that one build sees, in bytes.
pub const BUILD_INPUTS: u64 = 64 * 1024 * 1024;
/// A migration of a database, in bytes.
pub const MIGRATION: u64 = 1024 * 1024;
/// A chain of certificates, in bytes.
pub const CERTIFICATE: u64 = 64 * 1024;
/// A template, and what it renders to, in bytes.
pub const TEMPLATE: u64 = 256 * 1024;
/// A file of rules, in bytes.
pub const POLICY: u64 = 1024 * 1024;
/// How deep bases may extend bases.
pub const BASE_DEPTH: usize = 16;
/// How deep folders are searched for modules and rules.
pub const FOLDER_DEPTH: usize = 16;
/// How many faults are kept.
pub const FAULTS: usize = 500;
