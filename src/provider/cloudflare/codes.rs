//! What the API's own error codes mean for the reader: what to do now, and when to try again.
//!
//! **Invariant:** every hint is an instruction, and names the field, the command or the permission that it is about.
//!
//! Facts: the codes are those that Cloudflare's own clients know, and those that it answered in issues; no complete list is
//! published.

use crate::model::Retry;

/// For a token that is not good, or not for this.
pub(super) const TOKEN: &str = "check the target's `api_token`: it must be active and allowed Workers Scripts Write, \
                                Workers KV Storage Write, and for routes Workers Routes Write and Zone Read";

/// For too many calls.
pub(super) const LATER: &str = "wait, or give the daemon a token of its own: the limit is shared by all that use this one";

/// "Not found", for the several things that can be: a Worker, its service, its environment, a KV namespace; a DNS record, a
/// ruleset, a rule, the entrypoint of a phase, a custom domain.
pub(super) const MISSING: [u64; 9] = [10007, 10090, 10092, 10013, 81044, 10001, 10002, 10003, 100_112];

/// What to do about a code, and when it makes sense to try again; `None` for a code that nobody knows.
pub(super) fn advice(code: u64) -> Option<(&'static str, Retry)> {
    account(code).or_else(|| worker(code)).or_else(|| resource(code)).or_else(|| zone(code))
}

fn stalled(hint: &'static str) -> Option<(&'static str, Retry)> {
    Some((hint, Retry::Stalled))
}

fn transient(hint: &'static str) -> Option<(&'static str, Retry)> {
    Some((hint, Retry::Transient))
}

/// The token, the account and the address.
fn account(code: u64) -> Option<(&'static str, Retry)> {
    match code {
        10000 | 10001 | 9106 | 9109 | 6003 | 6111 => stalled(TOKEN),
        7000 | 7003 => stalled("check the target's `endpoint` and `account_id`: the API knows no such path"),
        10429 | 971 => transient(LATER),
        10063 => stalled("register a workers.dev name for the account in the dashboard, or set `workers_dev = false`"),
        10031 => stalled("the workers.dev name is taken; choose another one for the account in the dashboard"),
        10032 => stalled("the workers.dev name is free and not the account's; register it in the dashboard first"),
        _ => None,
    }
}

/// Workers, their versions and bindings.
fn worker(code: u64) -> Option<(&'static str, Retry)> {
    match code {
        10007 => stalled("the Worker is not there (any more): `trunkline plan` shows what is, and the next pass makes it anew"),
        10090 => stalled("the Worker's service is not there (any more): `trunkline plan` shows what is"),
        10092 => stalled(
            "the Worker has no such environment: `trunkline plan` shows what is; of today's Workers none has environments",
        ),
        10021 => stalled("the runtime refused the code or a binding, as the message says; fix the Worker's source or definition"),
        10027 => stalled("the Worker is too large for the account's plan; leave modules out, or split it in two"),
        10049 => transient("the preview token ran out; it is made anew at the next try"),
        10053 => {
            stalled("the Worker has a binding of that name and another sort; rename yours, or delete the other with wrangler")
        }
        10056 => stalled("somebody deleted that binding meanwhile; `trunkline plan` shows the Worker as it is now"),
        10057 => transient("a binding that was to be kept is gone; the next pass sees the Worker as it is now"),
        10064 => stalled("another Worker is bound to it; remove that binding first, in a commit of its own"),
        10200 => stalled("the workflow of a binding is not there; deploy the Worker that has it first, or remove the binding"),
        10214 | 10215 => stalled(
            "the newest version of the Worker is not deployed: deploy it, or end the gradual deployment, with `wrangler versions deploy`",
        ),
        10220 => {
            stalled("a secret changed since that version; commit again instead of rolling back, so that it is uploaded anew")
        }
        10222 => stalled("that version is gone; commit again instead of rolling back, so that it is uploaded anew"),
        100_402 => {
            stalled("the Durable Objects that the Worker exports do not fit those that it has; fix `exports` in its definition")
        }
        100_405 => stalled("the versions that share the requests export other Durable Objects; end the gradual deployment first"),
        100_406 => stalled(
            "a binding needs a Durable Object class that is no longer exported; keep it in `exports`, or remove the binding",
        ),
        _ => None,
    }
}

/// What Workers are bound to.
fn resource(code: u64) -> Option<(&'static str, Retry)> {
    match code {
        10014 => stalled("a KV namespace of that title is there and not ours: `adopt = true` takes it over"),
        10006 => stalled("the R2 bucket is not there; define it as `[r2.…]`, or remove the binding"),
        10004 => stalled("an R2 bucket of that name is there and not ours: `adopt = true` takes it over"),
        10008 => stalled("the R2 bucket is not empty; delete its objects first"),
        7404 => stalled("the D1 database is not there; define it as `[d1.…]`, or remove the binding"),
        7502 => stalled("a D1 database of that name is there and not ours: `adopt = true` takes it over"),
        7500 => stalled("D1 refused the statement, as the message says; fix the migration, and commit it under a new name"),
        11000 => stalled("the queue is not there; define it as `[queue.…]`, or remove the binding"),
        11009 => stalled("a queue of that name is there and not ours: `adopt = true` takes it over"),
        11004 => stalled("the queue has a consumer already; remove that one first: a queue has one"),
        2017 => stalled("a Hyperdrive configuration of that name is there and not ours: `adopt = true` takes it over"),
        1013 => stalled("a tunnel of that name is there and not ours: `adopt = true` takes it over"),
        100_119 => stalled("a dispatch namespace of that name is there and not ours: `adopt = true` takes it over"),
        _ => None,
    }
}

/// What lies in zones.
fn zone(code: u64) -> Option<(&'static str, Retry)> {
    match code {
        10020 => stalled("the route's pattern is taken; remove the other route, or change the pattern"),
        81044 => stalled("the DNS record is not there (any more): `trunkline plan` shows what is"),
        81053 | 81054 => {
            stalled("a CNAME stands alone under its name: remove the other records of that name, or use another name")
        }
        81057 | 81058 => stalled("the same DNS record is there and not ours: `adopt = true` takes it over"),
        1004 | 9003..=9041 => stalled("the DNS record makes no sense to the API, as the message says; fix its definition"),
        1043 => stalled("the record belongs to a custom domain of a Worker; define it as `[domain.…]` instead"),
        10003 => stalled("the zone has no rules of that phase; the next pass makes them"),
        20126..=20128 | 20217 => stalled("the rule does not go with those of the zone, as the message says; fix its definition"),
        100_114 => stalled("the host does not lie in the zone; check `hostname` and `zone_name`"),
        100_116 => stalled("the host is a custom domain of another Worker; take it away from that one first"),
        100_117 => stalled("the host has DNS records of its own; remove them, since a custom domain brings its record"),
        1012 | 1094 => stalled("the API takes no such purge; check `purge` of the Worker"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::envelope::ApiError;
    use super::super::fault;
    use super::*;

    /// Each code that the contract names, with what an operator has to be told.
    const TOLD: &[(u64, &str)] = &[
        (10000, "api_token"),
        (9109, "api_token"),
        (7003, "`account_id`"),
        (10007, "`trunkline plan`"),
        (10090, "`trunkline plan`"),
        (10092, "no such environment"),
        (10021, "fix the Worker's source or definition"),
        (10027, "leave modules out"),
        (10049, "made anew"),
        (10053, "rename yours"),
        (10056, "`trunkline plan`"),
        (10057, "next pass"),
        (10063, "`workers_dev = false`"),
        (10031, "choose another"),
        (10032, "register it"),
        (10200, "workflow"),
        (10214, "`wrangler versions deploy`"),
        (10215, "`wrangler versions deploy`"),
        (10220, "secret"),
        (10222, "uploaded anew"),
        (100_402, "`exports`"),
        (100_405, "gradual deployment"),
        (100_406, "`exports`"),
        (10006, "`[r2.…]`"),
        (10014, "`adopt = true`"),
        (7404, "`[d1.…]`"),
        (10020, "change the pattern"),
        (10064, "remove that binding"),
        (10004, "`adopt = true`"),
        (10008, "not empty"),
        (7502, "`adopt = true`"),
        (7500, "migration"),
        (11000, "`[queue.…]`"),
        (11009, "`adopt = true`"),
        (11004, "a queue has one"),
        (2017, "`adopt = true`"),
        (1013, "`adopt = true`"),
        (100_119, "`adopt = true`"),
        (81044, "`trunkline plan`"),
        (81053, "CNAME"),
        (81054, "CNAME"),
        (81057, "`adopt = true`"),
        (81058, "`adopt = true`"),
        (9005, "definition"),
        (1043, "`[domain.…]`"),
        (20126, "definition"),
        (20217, "definition"),
        (100_114, "`zone_name`"),
        (100_116, "another Worker"),
        (100_117, "remove them"),
        (1012, "`purge`"),
    ];

    #[test]
    fn every_code_becomes_an_error_that_says_what_to_do() {
        for (code, told) in TOLD {
            let said = ApiError { code: Some(*code), message: Some("what the server says".to_owned()) };
            let status = if MISSING.contains(code) { 404 } else { 400 };
            let fault = fault::refused("PUT /x", status, &[said], Some("8f-FRA"), None);
            let message = fault.error.to_string();
            let shown = format!("PUT /x: what the server says (HTTP {status}, code {code}, cf-ray 8f-FRA)");
            assert_eq!(message, shown);
            let hint = fault.error.hint.as_deref().unwrap_or_default();
            assert!(hint.contains(told), "{code}: {hint}");
            assert_eq!(fault.is_missing(), status == 404, "{code}");
            assert!(fault.certain, "{code}");
        }
    }

    #[test]
    fn a_code_that_nobody_knows_is_advised_by_its_status() {
        let unknown = ApiError { code: Some(999_999), message: None };
        let hint = |status| fault::refused("x", status, std::slice::from_ref(&unknown), None, None).error.hint;
        assert!(hint(403).is_some_and(|hint| hint.contains("api_token")));
        assert!(hint(413).is_some_and(|hint| hint.contains("smaller")));
        assert_eq!(hint(400), None);
    }
}
