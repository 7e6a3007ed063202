# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# harness.sh TALLY KERNEL FILE: runs one file of tests. A file calls `check` once for
# each thing it holds to be so.

set -uo pipefail
# shellcheck source=common.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
LAB_TALLY=$1 LAB_KERNEL=$2 LAB_FILE=$3
LAB_TEST_TMP=$(mktemp -d)
trap 'rm -rf "$LAB_TEST_TMP"' EXIT

# check NAME COMMAND... : passes where COMMAND succeeds; shows its output where not.
check() {
	local name="${LAB_FILE##*/}: $1" started=$SECONDS
	grep -q '^# once: ' "$LAB_FILE" || name="$LAB_KERNEL $name"
	shift
	if "$@" >"$LAB_TEST_TMP/output" 2>&1 </dev/null; then
		echo "ok $name ($((SECONDS - started)) s)"
		echo ok >>"$LAB_TALLY"
	else
		echo "FAILED $name"
		tail -n 60 "$LAB_TEST_TMP/output" | sed 's/^/    /'
		echo failed >>"$LAB_TALLY"
	fi
}

# skip NAME WHY
skip() {
	echo "skipped ${LAB_FILE##*/}: $1: $2"
	echo skipped >>"$LAB_TALLY"
}

# run [OPTION...] -- COMMAND...: test/vm/run on the kernel under test.
run() { "$LAB_DIR/run" --kernel "$LAB_KERNEL" "$@"; }

# status_is N COMMAND... : COMMAND ends with N, and what it said is in $output.
status_is() {
	local want=$1 status
	shift
	output=$("$@" 2>&1)
	status=$?
	printf '%s\n' "$output"
	[ "$status" -eq "$want" ] || {
		echo "ended with $status, not $want"
		return 1
	}
}

# says TEXT: $output has it.
says() {
	[[ $output == *"$1"* ]] || {
		echo "did not say: $1"
		return 1
	}
}

# shellcheck source=/dev/null
. "$LAB_FILE"
