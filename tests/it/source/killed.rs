//! A daemon that is killed in the middle leaves a database that opens and works.
