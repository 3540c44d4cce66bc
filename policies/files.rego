# Files on hosts that every user of the host could write: whoever gets a foothold in one service there would own the
# others that read the file. It holds for rollbacks too.
package trunkline.files

deny contains {
	"address": resource.address,
	"msg": sprintf("`%s` would be writable by everyone on the host (mode %s)", [resource.properties.path, mode]),
	"hint": sprintf("take the last digit's write bit away, such as `mode = \"%s\"`", [closed(mode)]),
} if {
	some resource in input.desired.resources
	resource.kind == "file"
	mode := resource.properties.mode
	regex.match(`[2367]$`, mode)
}

closed(mode) := concat("", [substring(mode, 0, count(mode) - 1), lower_digit[substring(mode, count(mode) - 1, 1)]])

lower_digit := {"2": "0", "3": "1", "6": "4", "7": "5"}
