# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Which Debian mirrors this machine uses, read from its own apt sources, and the
# sources the lab needs from the same mirrors. Nothing here names a host.

# Prints "URI SUITE" for every binary source of the machine, from both formats:
# one-line (*.list) and deb822 (*.sources).
lab_apt_sources() {
	local etc=${LAB_APT_ETC:-/etc/apt} file
	for file in "$etc"/sources.list "$etc"/sources.list.d/*.list; do
		[ -f "$file" ] || continue
		# deb [options] URI SUITE COMPONENT...
		sed -nE 's/^[[:space:]]*deb[[:space:]]+(\[[^]]*\][[:space:]]+)?([^[:space:]]+)[[:space:]]+([^[:space:]]+).*/\2 \3/p' "$file"
	done
	for file in "$etc"/sources.list.d/*.sources; do
		[ -f "$file" ] || continue
		awk '
			function flush_stanza(  i, j, n, m, u, s) {
				if (types ~ /(^| )deb( |$)/ && enabled !~ /^(no|false|off|0)$/) {
					n = split(uris, u, " "); m = split(suites, s, " ")
					for (i = 1; i <= n; i++) for (j = 1; j <= m; j++) print u[i], s[j]
				}
				types = uris = suites = enabled = field = ""
			}
			/^#/ { next }
			/^[[:space:]]*$/ { flush_stanza(); next }
			/^[^[:space:]]/ { field = tolower($1); sub(/:$/, "", field); $1 = "" }
			{ gsub(/^[[:space:]]+|[[:space:]]+$/, "")
			  if (field == "types") types = types " " $0
			  if (field == "uris") uris = uris " " $0
			  if (field == "suites") suites = suites " " $0
			  if (field == "enabled") enabled = tolower($0) }
			END { flush_stanza() }
		' "$file"
	done
}

# Sets LAB_MIRROR and LAB_MIRROR_SECURITY. A mirror is recognised by the suites
# taken from it, so a local mirror under any name will do.
lab_find_mirrors() {
	local uri suite
	LAB_MIRROR='' LAB_MIRROR_SECURITY=''
	while read -r uri suite; do
		case $suite in
		bullseye-security | bookworm-security | trixie-security | *stable-security)
			LAB_MIRROR_SECURITY=${LAB_MIRROR_SECURITY:-$uri} ;;
		bullseye | bookworm | trixie | stable | oldstable | oldoldstable)
			LAB_MIRROR=${LAB_MIRROR:-$uri} ;;
		esac
	done < <(lab_apt_sources)
	[ -n "$LAB_MIRROR" ] && [ -n "$LAB_MIRROR_SECURITY" ] ||
		lab_die "this machine's apt sources name no Debian mirror with its security suite; the lab takes its packages from there"
}
