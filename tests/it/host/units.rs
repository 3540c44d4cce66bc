//! The systemd units that are shipped.
