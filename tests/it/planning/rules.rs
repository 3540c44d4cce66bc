//! Each rule by data.
