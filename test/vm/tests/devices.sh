# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What a command finds in the guest.

devices() {
	output=$(run -- sh -c 'ls /dev/dax0.0 /dev/dax1.0; readlink /sys/class/dma/dma0chan0/device/driver') || return
	says /dev/dax0.0 && says /dev/dax1.0 && says ioatdma
}
check "two device-dax devices, and ioatdma on the model" devices

other_machine() {
	output=$(run --channels 6 --devices 1 --size 256MiB --persistence cpu -- sh -c '
		ls /sys/class/dma | wc -l; ls /dev/dax* | wc -l
		cat /sys/bus/nd/devices/region0/persistence_domain /sys/bus/dax/devices/dax0.0/size') || return
	[ "$output" = "$(printf '%s\n' 6 1 cpu_cache $((250 << 20)))" ] || { echo "$output"; return 1; }
}
check "channels, devices, sizes and persistence domain as asked for" other_machine

# The one command says the status of the other, so that both are seen to be right.
faithful() {
	local share=$LAB_TEST_TMP/share
	mkdir "$share"
	run --channels 0 --share "$share" -- sh -c '
		seq 200000; seq 100 >&2; seq 1000 >/share/file
		! touch /repo/file && grep -q dmad /repo/package.json && exit 77' \
		>"$LAB_TEST_TMP/out" 2>"$LAB_TEST_TMP/err"
	[ $? -eq 77 ] || { cat "$LAB_TEST_TMP/err"; return 1; }
	cmp "$LAB_TEST_TMP/out" <(seq 200000) && cmp "$share/file" <(seq 1000) &&
		grep -vE 'Read-only|lab:' "$LAB_TEST_TMP/err" | cmp - <(seq 100)
}
check "output, errors, status and shared folder arrive whole" faithful

host_programs() {
	output=$(run --channels 0 -- host node -e 'console.log(process.version, process.cwd(), require("fs").existsSync("package.json"))') || return
	says "$(node --version) /repo true"
}
check "this machine's Node runs in the guest" host_programs
