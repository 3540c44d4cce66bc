//! The text, as whole pages.
