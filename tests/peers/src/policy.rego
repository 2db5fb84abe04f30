# What the three policies of keyward deny, as Rego: the first reason, or `scope.granted`.
# `data.scopes` has, for each scope of the route table, its action and the grants that cover it; the
# networks of a key and the blocked ones are by address family.
package keyward

import rego.v1

key := data.keys[input.key]

scope := data.scopes[input.scope]

reason := "key.unknown" if {
	not data.keys[input.key]
} else := "key.revoked" if {
	key.lifecycle == "revoked"
} else := "key.suspended" if {
	key.lifecycle == "suspended"
} else := "scope.unmapped" if {
	not input.scope
} else := "scope.read-only" if {
	key.read_only
	not scope.action in {"read", "list"}
} else := "scope.missing" if {
	not granted
} else := "rotation.not-yet-valid" if {
	input.now < key.not_before
} else := "rotation.no-expiry" if {
	not key.expires_at
} else := "rotation.lifetime-exceeded" if {
	key.expires_at - key.issued_at > 7776000000
} else := "rotation.expired" if {
	input.now >= key.expires_at
} else := "rotation.grace-ended" if {
	key.lifecycle == "deprecated"
	input.now >= key.grace_until
} else := "ip.blocked" if {
	blocked
} else := "scope.granted" if {
	not key.networks
} else := "ip.source-unknown" if {
	not input.source
} else := "ip.not-allowed" if {
	not contained
} else := "scope.granted"

granted if {
	some grant in key.scopes
	scope.covering[grant]
}

# Not within the chain: there, the virtual machine of regorus 0.14.1 ends at `some`, undefined.
blocked if {
	some network in data.blocked[input.family]
	net.cidr_contains(network, input.source)
}

contained if {
	some network in key.networks[input.family]
	net.cidr_contains(network, input.source)
}
