# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# once: what concerns this machine and not the guest's kernel.

model() {
	local dir=$LAB_TEST_TMP/model
	cp -r "$LAB_DIR/ioat-model" "$dir"
	# shellcheck source=/dev/null
	. "$LAB_DIR/lib/root.sh"
	lab_root_run "$dir" make -s CC=gcc-14 O=/tmp/out check
}
check "the model's own tests, under ASan and UBSan" model

shell_scripts() {
	local scripts
	mapfile -t scripts < <(grep -rlE '^#!/bin/(ba)?sh|^# shellcheck shell' "$LAB_DIR")
	shellcheck "${scripts[@]}"
}
if command -v shellcheck >/dev/null; then
	check "the scripts, by shellcheck" shell_scripts
else
	skip "the scripts, by shellcheck" "it is not installed"
fi

sources() {
	mkdir -p "$LAB_TEST_TMP/etc/sources.list.d"
	cat >"$LAB_TEST_TMP/etc/sources.list" <<-'EOF'
		# deb http://commented.test/debian bookworm main
		deb [arch=amd64 signed-by=/x] http://one.test/debian bookworm main contrib
		deb-src http://source.test/debian bookworm main
	EOF
	cat >"$LAB_TEST_TMP/etc/sources.list.d/x.sources" <<-'EOF'
		Types: deb-src
		URIs: http://source.test/debian-security
		Suites: bookworm-security

		Enabled: no
		Types: deb
		URIs: http://off.test/debian-security
		Suites: bookworm-security

		Types: deb deb-src
		# a comment
		URIs: http://two.test/debian-security
		Suites: bookworm-updates
		 bookworm-security
	EOF
	(
		LAB_APT_ETC=$LAB_TEST_TMP/etc
		# shellcheck source=/dev/null
		. "$LAB_DIR/lib/mirror.sh"
		lab_find_mirrors
		echo "$LAB_MIRROR $LAB_MIRROR_SECURITY"
		[ "$LAB_MIRROR $LAB_MIRROR_SECURITY" = "http://one.test/debian http://two.test/debian-security" ]
	)
}
check "the mirrors, from apt's sources in both formats" sources

refused() {
	status_is 125 run --channels x -- true && status_is 125 run --size 1GB -- true &&
		status_is 125 run --kernel 4.19 -- true && status_is 125 run && status_is 125 run --nonsense -- true &&
		status_is 125 run --share /nonexistent -- true
}
check "options that make no sense" refused

two_at_once() {
	run -- sh -c 'fault hang@100; echo one' >"$LAB_TEST_TMP/one" 2>&1 &
	run -- sh -c 'fault status; echo two' >"$LAB_TEST_TMP/two" 2>&1 || return
	wait $! && grep -q one "$LAB_TEST_TMP/one" && grep -q two "$LAB_TEST_TMP/two" &&
		! grep -q hang "$LAB_TEST_TMP/two"
}
check "two guests at once" two_at_once

# What a run may leave: processes with its folder in their arguments, the folder, mounts.
leftovers() {
	local mounts
	mounts=$(wc -l </proc/mounts)
	[ "$mounts" -eq "$LAB_MOUNTS" ] || { echo "mounts: $LAB_MOUNTS, now $mounts"; return 1; }
	! pgrep -af "$TMPDIR" && ! ls -d "$TMPDIR"/dmad-lab.* 2>/dev/null
}

interrupted() { # SIGNAL SECONDS STATUS
	local pid status
	export TMPDIR=$LAB_TEST_TMP/tmp
	mkdir -p "$TMPDIR"
	LAB_MOUNTS=$(wc -l </proc/mounts)
	# the way a shell starts a foreground command: SIGINT is not ignored
	setsid env --default-signal=INT "$LAB_DIR/run" --kernel "$LAB_KERNEL" -- sleep 100 &
	pid=$!
	sleep "$2"
	kill -s "$1" "$pid"
	wait "$pid"
	status=$?
	[ "$status" -eq "$3" ] || { echo "ended with $status"; return 1; }
	sleep 1 # a killed process takes a moment to be gone
	leftovers
}
for seconds in 0.1 0.4 1 4 12; do
	check "interrupted after $seconds s, nothing is left" interrupted INT "$seconds" 130
done
check "terminated, nothing is left" interrupted TERM 3 143

# With no chance to clean up its folder stays, but nothing runs on.
killed() {
	export TMPDIR=$LAB_TEST_TMP/killed
	mkdir -p "$TMPDIR"
	setsid "$LAB_DIR/run" --kernel "$LAB_KERNEL" -- sleep 100 &
	sleep 4
	kill -KILL $!
	wait $! 2>/dev/null
	sleep 1
	! pgrep -af "$TMPDIR"
}
check "killed, nothing runs on" killed

offline() {
	unshare --net "$LAB_DIR/setup" --kernel "$LAB_KERNEL" &&
		unshare --net "$LAB_DIR/run" --kernel "$LAB_KERNEL" -- true
}
check "with no network, from the cache" offline
