# Who may use which tool of a broker. `input` is described in README.md.
package broker

# One object, so that `url = "…/v1/data/broker/decision"` gets all of the answer at once.
decision := {"allow": allow, "ask": ask, "rule": rule}

default allow := false

default ask := false

default rule := "default"

# Everybody may read.
allow if rule == "readers"

rule := "readers" if endswith(input.tool, ":read")

# A tenant deploys what is its own, to any stage but the last one.
allow if {
	rule == "owners"
	input.arguments.stage != "production"
}

# To production only when somebody agrees.
ask if {
	rule == "owners"
	input.arguments.stage == "production"
}

rule := "owners" if {
	input.tool == "projects:deploy"
	owners[input.arguments.project] == input.principal.tenant
}

owners := {"web": "acme", "shop": "globex"}
