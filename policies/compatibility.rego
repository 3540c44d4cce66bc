# The compatibility date of Workers: missing, or so old that the runtime keeps years of old behaviour alive for it.
#
# A date that was fresh when it was written grows old by itself. That is a warning, so that no Worker becomes impossible
# to change on some morning; an old date that a plan writes (a new Worker, or a date that moves) is denied.
package trunkline.compatibility

max_age_days := 400

deny contains {
	"address": resource.address,
	"msg": "the Worker has no compatibility date, so that its behaviour depends on the runtime's oldest",
	"hint": sprintf("add `compatibility_date = \"%s\"`", [substring(input.now, 0, 10)]),
} if {
	input.kind != "rollback"
	some resource in workers
	not resource.properties.compatibility_date
}

deny contains {
	"address": resource.address,
	"msg": sprintf("`%v` is no date", [date]),
	"hint": sprintf("write it like `compatibility_date = \"%s\"`", [substring(input.now, 0, 10)]),
} if {
	some resource in workers
	date := resource.properties.compatibility_date
	not is_date(date)
}

deny contains message if {
	some key, message in too_old
	input.kind != "rollback"
	written(key)
}

warn contains message if {
	some key, message in too_old
	input.kind != "rollback"
	not written(key)
}

warn contains message if {
	some message in too_old
	input.kind == "rollback"
}

too_old[key] := {
	"address": resource.address,
	"msg": sprintf("the compatibility date %s is %d days old; at most %d are allowed", [date, days, max_age_days]),
	"hint": "move it forward, and read what changed since at https://developers.cloudflare.com/workers/configuration/compatibility-flags/",
} if {
	some key, resource in workers
	date := resource.properties.compatibility_date
	is_date(date)
	days := floor((input.now_ns - time.parse_rfc3339_ns(sprintf("%sT00:00:00Z", [date]))) / 86400000000000)
	days > max_age_days
}

workers[key] := resource if {
	some key, resource in input.desired.resources
	resource.kind == "worker"
}

is_date(date) if regex.match(`^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$`, date)

# Whether the plan writes the date of this instance.
written(key) if {
	some change in input.plan.changes
	change.key == key
	"compatibility_date" in change.fields
}
