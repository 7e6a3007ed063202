# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A guest that fails makes `run` fail, and say why.

# By when a guest is up for sure, and then some.
limit=45
[ "$LAB_KERNEL" != debug ] || limit=600

trouble() { # KIND STATUS TEXT
	status_is "$2" run --channels 0 --timeout "$limit" --module "$LAB_DIR/tests/trouble" -- \
		sh -c "insmod /modules/lab_trouble.ko kind=$1; exit 0" && says "$3" && says "last lines of the console"
}
check "a panic" trouble panic 125 "Kernel panic - not syncing: lab_trouble"
check "an oops" trouble oops 125 "BUG: kernel NULL pointer dereference"
check "a warning" trouble warning 125 "WARNING: "
check "a kernel that hangs" trouble hang 124 "did not end within $limit s"

# Only the debug kernel's checks see these; each is there so that its silence means something.
if [ "$LAB_KERNEL" = debug ]; then
	check "a leak" trouble leak 125 "kmemleak: 1 new suspected"
	check "a use after free" trouble stale 125 "KASAN: slab-use-after-free"
	check "locks in the wrong order" trouble order 125 "possible circular locking"
	check "a mutex under a spinlock" trouble sleep 125 "sleeping function called"
	check "undefined behaviour" trouble shift 125 "UBSAN: shift-out-of-bounds"
fi

ends() { # STATUS TEXT COMMAND...
	local status=$1 text=$2
	shift 2
	status_is "$status" run --channels 0 --timeout "$limit" -- "$@" && says "$text"
}
check "a silent power-off" ends 125 "without a word" poweroff -f
check "a silent reboot" ends 125 "without a word" reboot -f
check "init gone" ends 125 "Kernel panic" sh -c 'echo 1 >/proc/sys/kernel/sysrq; kill -SEGV 1; echo c >/proc/sysrq-trigger'
check "a command that never ends" status_is 124 run --channels 0 --timeout 25 -- sleep 1000
check "a command that there is not" status_is 127 run --channels 0 -- no-such-command
