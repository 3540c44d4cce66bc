# Plain vars of Workers that look like secrets. A var stands in Git and in the dashboard for everyone to read; a secret
# is encrypted (`trunkline secrets set`).
#
# It looks at what is in the definitions, so it also finds what has been there for a year. In a rollback it only warns:
# what was readable before stays readable, and the rollback should not wait for it.
package trunkline.secrets

# Vars that look like secrets and are none: "<address> <var>", such as "production/worker.ads-api PUBLIC_TOKEN".
harmless := set()

deny contains message if {
	input.kind != "rollback"
	some message in messages
}

warn contains message if {
	input.kind == "rollback"
	some message in messages
}

# The value itself is never repeated.
messages contains {
	"address": resource.address,
	"msg": sprintf("the plain var `%s` looks like %s", [name, what]),
	"hint": "make it a secret: `trunkline secrets set`, then `{ secret = \"…\" }` under bindings",
} if {
	some resource in input.desired.resources
	resource.kind == "worker"
	some name, binding in resource.properties.bindings
	not sprintf("%s %s", [resource.address, name]) in harmless
	some what in looks(name, binding)
}

looks(name, binding) := by_value | by_name if {
	texts := values(name, binding)
	by_value := {what |
		some text in texts
		some what, shape in shapes
		regex.match(shape, text)
	}
	by_name := {"a secret, by its name and its value" |
		some path, text in texts
		suspect_name(path)
		random(text)
	}
}

# The texts of a var by name; of a JSON var the whole, and each text of its outermost table.
values(name, binding) := {name: binding.text} if binding.type == "plain_text"

values(name, binding) := object.union({"": binding.json}, inner) if {
	binding.type == "json"
	inner := {key: text |
		some key, text in table(name, json.unmarshal(binding.json))
		is_string(text)
	}
}

values(_, binding) := {} if not binding.type in {"plain_text", "json"}

table(name, value) := {name: value} if is_string(value)

table(_, value) := value if is_object(value)

table(_, value) := {} if {
	not is_string(value)
	not is_object(value)
}

shapes := {
	"an AWS access key": `\b(AKIA|ASIA)[0-9A-Z]{16}\b`,
	"a live Stripe key": `\b[sr]k_live_[0-9A-Za-z]{10,}`,
	"a private key": `-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY( BLOCK)?-----`,
	"a private key of age": `\bAGE-SECRET-KEY-1[0-9A-Z]{10,}`,
	"a JSON Web Token": `\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+`,
	"a GitHub token": `\b(gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})`,
	"a Slack token": `\bxox[abeoprs]-[0-9A-Za-z-]{10,}`,
	"a URL with a password": `[a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s@]+@`,
}

suspect_name(name) if {
	regex.match(`(?i)(secret|passw(or)?d|passphrase|api_?key|private_?key|access_?key|signing_?key|credential|(^|_)token($|_))`, name)
	not regex.match(`(?i)(^public_|_(url|uri|name|header|path|ttl|type|id)$)`, name)
}

# Long, without spaces, of letters and digits, few of them twice: what a person would not type.
random(text) if {
	count(text) >= 16
	regex.match(`^[A-Za-z0-9+/=_.~-]+$`, text)
	regex.match(`[A-Za-z]`, text)
	regex.match(`[0-9]`, text)
	count({letter | some letter in split(text, "")}) >= 10
}
