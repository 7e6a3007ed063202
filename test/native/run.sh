#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Run each variant of the tests and add up: run.sh VARIANT=PROGRAM...
# A variant whose program is missing could not be built by this compiler.
# Prints the output of a variant only if a test of it failed; PROGRAM.log has it always.
# The last line is "N passed, N failed, N skipped".

# A program that is given the name of no test ends with 77, where it starts.
starts() {
	"$@" no-such-test >/dev/null 2>&1
	[ $? -eq 77 ]
}

passed=0 failed=0 skipped=0

for item; do
	variant=${item%%=*}
	program=${item#*=}
	log=$program.log

	if [ ! -x "$program" ]; then
		echo "# $variant: skipped, this compiler cannot build it"
		skipped=$((skipped + 1))
		continue
	fi

	# Sanitizers want their shadow at fixed addresses, which a kernel that
	# places mappings at random over a wide range may have taken.
	if starts "$program"; then
		launch=
	elif starts setarch -R "$program"; then
		launch='setarch -R'
	else
		echo "# $variant: skipped, it does not start on this kernel"
		skipped=$((skipped + 1))
		continue
	fi

	$launch "$program" >"$log" 2>&1
	status=$?
	if [ "$status" -ne 0 ]; then
		echo "# $variant"
		cat "$log"
	fi
	counts=$(tail -n 1 "$log" | sed -n \
		's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p')
	if [ -z "$counts" ]; then
		echo "# $variant: ended with status $status before its summary"
		failed=$((failed + 1))
		continue
	fi
	# shellcheck disable=SC2086 # three numbers, three arguments
	set -- $counts
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
