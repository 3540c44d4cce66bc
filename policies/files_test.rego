package trunkline.files_test

import data.trunkline.files

file(mode) := {"kind": "apply", "desired": {"resources": {"production/file.config@fra1": {
	"address": "production/file.config",
	"kind": "file",
	"properties": {"path": "/etc/ads/config.toml", "mode": mode},
}}}}

test_open_to_all_is_denied if {
	every mode, closed in {"0666": "0664", "0777": "0775", "0642": "0640", "0643": "0641", "1777": "1775"} {
		some message in files.deny with input as file(mode)
		message.address == "production/file.config"
		contains(message.hint, closed)
	}
}

test_open_to_owner_and_group_passes if {
	every mode in ["0600", "0640", "0644", "0660", "0755", "0775", "2755"] {
		count(files.deny) == 0 with input as file(mode)
	}
}

test_a_rollback_is_denied_too if {
	count(files.deny) == 1 with input as object.union(file("0666"), {"kind": "rollback"})
}

test_other_kinds_have_no_mode if {
	count(files.deny) == 0 with input as {"kind": "apply", "desired": {"resources": {"production/kv.a@main": {
		"address": "production/kv.a",
		"kind": "kv",
		"properties": {"title": "a"},
	}}}}
}
