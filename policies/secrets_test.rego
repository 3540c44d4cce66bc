package trunkline.secrets_test

import data.trunkline.secrets

worker(bindings) := {"kind": "apply", "desired": {"resources": {"production/worker.api@main": {
	"address": "production/worker.api",
	"kind": "worker",
	"properties": {"bindings": bindings},
}}}}

var(name, text) := worker({name: {"type": "plain_text", "text": text}})

# Put together here, so that the tests themselves hold nothing that looks like a secret.
aws_key := concat("", ["AK", "IA", "ABCDEFGH12345678"])

stripe_key := concat("_", ["sk", "live", "abcdefghij0123456789"])

token := concat(".", ["eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxMjM0In0", "c2lnbmF0dXJl"])

pem := concat("", ["-----BEGIN ", "PRIVATE KEY-----\nMIIB\n-----END ", "PRIVATE KEY-----"])

test_values_of_known_shapes_are_denied if {
	every value in [aws_key, stripe_key, token, pem, "postgres://app:hunter2@db.example.com/ads"] {
		count(secrets.deny) == 1 with input as var("SETTING", value)
	}
}

test_a_random_value_under_a_telling_name_is_denied if {
	every name in ["SIGNING_SECRET", "apiKey", "DB_PASSWORD", "TOKEN"] {
		count(secrets.deny) == 1 with input as var(name, "q8Zr2LmX0vTn5YcW")
	}
}

test_the_message_names_the_var_and_not_the_value if {
	some message in secrets.deny with input as var("KEY", aws_key)
	message.address == "production/worker.api"
	contains(message.msg, "`KEY`")
	not contains(json.marshal(message), aws_key)
}

test_a_json_var_is_looked_into if {
	nested := json.marshal({"outer": {"inner": aws_key}})
	count(secrets.deny) == 1 with input as worker({"CONFIG": {"type": "json", "json": nested}})
	flat := json.marshal({"api_key": "q8Zr2LmX0vTn5YcW", "port": 80})
	count(secrets.deny) == 1 with input as worker({"CONFIG": {"type": "json", "json": flat}})
	text := json.marshal("q8Zr2LmX0vTn5YcW")
	count(secrets.deny) == 1 with input as worker({"API_KEY": {"type": "json", "json": text}})
}

test_ordinary_vars_pass if {
	every name, value in {
		"LOG_LEVEL": "info",
		"TOKEN_URL": "https://auth.example.com/oauth2/token1",
		"API_KEY_HEADER": "x-ads-api-key-v2-0123456789",
		"PASSWORD_HINT": "the name of the cat",
		"GREETING": "q8Zr2LmX0vTn5YcW",
		"PUBLIC_KEY": "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
	} {
		count(secrets.deny) == 0 with input as var(name, value)
	}
	every value in ["[1,2]", "true", "null", "{\"port\":80}", "\"info\""] {
		count(secrets.deny) == 0 with input as worker({"CONFIG": {"type": "json", "json": value}})
	}
}

test_secrets_and_other_bindings_pass if {
	count(secrets.deny) == 0 with input as worker({
		"API_KEY": {"type": "secret_text", "text": {"$secret": "unknown"}},
		"TOKENS": {"type": "kv_namespace", "namespace_id": "0123456789abcdef0123456789abcdef"},
	})
}

test_what_is_listed_as_harmless_passes if {
	count(secrets.deny) == 0 with input as var("API_KEY", "q8Zr2LmX0vTn5YcW")
		with secrets.harmless as {"production/worker.api API_KEY"}
}

test_a_rollback_is_warned_and_not_denied if {
	rollback := object.union(var("KEY", aws_key), {"kind": "rollback"})
	count(secrets.deny) == 0 with input as rollback
	count(secrets.warn) == 1 with input as rollback
}
