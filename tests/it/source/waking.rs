//! When the daemon looks: watch, poll, schedule, request.
