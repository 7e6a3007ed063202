# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# For what runs in the guest: copies through the client module, and what it says of them.

parameters=/sys/module/lab_copy/parameters

# copy NAME=VALUE... : a run of the client with these parameters, others as they were.
copy() {
	local setting
	[ -d "$parameters" ] || insmod /modules/lab_copy.ko || return 1
	for setting in "$@"; do
		echo "${setting#*=}" >"$parameters/${setting%%=*}" || return 1
	done
	echo 1 >"$parameters/run"
}

result() { cat "$parameters/$1"; }

# expect NAME OPERATOR VALUE: as in `expect good -eq 100`.
expect() {
	if test "$(result "$1")" "$2" "$3"; then return 0; fi
	echo "FAILED: $1 is $(result "$1"), wanted $2 $3" >&2
	dmesg | tail -n 15 >&2
	return 1
}

# said PATTERN: the kernel has printed it since the last `forget`.
forget() { dmesg -C; }
said() {
	if dmesg | grep -qE "$1"; then return 0; fi
	echo "FAILED: the kernel did not say '$1' but:" >&2
	dmesg | tail -n 15 >&2
	return 1
}
