package trunkline.compatibility_test

import data.trunkline.compatibility

# A plan that changes `fields` of a Worker with these properties, on 2026-11-23.
judged(properties, fields) := {
	"kind": "apply",
	"now": "2026-11-23T12:00:00Z",
	"now_ns": time.parse_rfc3339_ns("2026-11-23T12:00:00Z"),
	"plan": {"changes": [{"key": "production/worker.api@main", "fields": fields}]},
	"desired": {"resources": {
		"production/worker.api@main": {"address": "production/worker.api", "kind": "worker", "properties": properties},
		"production/kv.sessions@main": {"address": "production/kv.sessions", "kind": "kv", "properties": {"title": "s"}},
	}},
}

written := ["compatibility_date", "script"]

test_a_missing_date_is_denied if {
	some message in compatibility.deny with input as judged({}, ["script"])
	message.address == "production/worker.api"
	contains(message.hint, "2026-11-23")
}

test_an_old_date_that_is_written_is_denied if {
	some message in compatibility.deny with input as judged({"compatibility_date": "2024-01-01"}, written)
	contains(message.msg, "1057 days")
	count(compatibility.warn) == 0 with input as judged({"compatibility_date": "2024-01-01"}, written)
}

test_a_date_that_grew_old_is_warned_of if {
	aged := judged({"compatibility_date": "2024-01-01"}, ["bindings.LOG_LEVEL.text"])
	count(compatibility.deny) == 0 with input as aged
	count(compatibility.warn) == 1 with input as aged
}

test_the_last_day_passes if {
	count(compatibility.deny) == 0 with input as judged({"compatibility_date": "2025-10-19"}, written)
	count(compatibility.deny) == 1 with input as judged({"compatibility_date": "2025-10-18"}, written)
}

test_what_is_no_date_is_denied if {
	every text in ["", "soon", "2026-13-01", "2026-1-1", "2026-11-01T00:00:00Z"] {
		count(compatibility.deny) == 1 with input as judged({"compatibility_date": text}, written)
	}
}

test_a_rollback_is_only_warned if {
	missing := object.union(judged({}, written), {"kind": "rollback"})
	count(compatibility.deny) == 0 with input as missing
	old := object.union(judged({"compatibility_date": "2024-01-01"}, written), {"kind": "rollback"})
	count(compatibility.deny) == 0 with input as old
	count(compatibility.warn) == 1 with input as old
}
