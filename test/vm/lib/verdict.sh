# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# How `run` knows what became of the guest. QEMU's own exit status says too little: it
# is 0 after a panic and after any power-off.

# What init writes to the debug-exit device comes back as 2 * value + 1.
LAB_QEMU_DONE=$((2 * 0x2a + 1))

# A guest is up within seconds, or half a minute where many share the machine; one that is
# not by then has hung on its way. The debug kernel takes minutes where others take seconds.
lab_boot_seconds() { if [ "$LAB_OPT_KERNEL" = debug ]; then echo 900; else echo 240; fi; }

# What a kernel prints when something is wrong with it. Other code in the guest may warn
# as well: a driver's WARN is a failure of whoever made it warn. Most checks say BUG or
# WARNING; the last ones are the debug kernel's, also where a check has given up.
LAB_TROUBLE='BUG[: ]|WARNING: |Oops: |Oops\[#|Kernel panic|general protection fault|UBSAN: |KASAN: |refcount_t: |scheduling while atomic|blocked for more than|lab guest: '
LAB_TROUBLE+='|list_(add|del) corruption|(Poison|Redzone) overwritten|Object already free'
LAB_TROUBLE+='|kmemleak: .*(suspected|disabled|pool empty)|DMA-API: .*(out of memory|disabling)|ODEBUG: |lockdep is turned off|register non-static key'

# lab_wait_for_guest TMP QEMU: until it ends, or its time does.
lab_wait_for_guest() {
	local tmp=$1 qemu=$2 started=$SECONDS boot
	boot=$(lab_boot_seconds)
	LAB_QEMU_STATUS='' LAB_HUNG=''
	# wait has no time limit of its own
	while kill -0 "$qemu" 2>/dev/null; do
		if [ $((SECONDS - started)) -ge "$LAB_OPT_TIMEOUT" ]; then
			LAB_HUNG="it did not end within $LAB_OPT_TIMEOUT s"
		elif [ $((SECONDS - started)) -ge "$boot" ] && [ ! -s "$tmp/status" ] && [ -z "$LAB_OPT_GDB" ]; then
			LAB_HUNG="it was not up within $boot s"
		fi
		[ -z "$LAB_HUNG" ] || { kill -KILL "$qemu"; break; }
		sleep 0.2
	done
	wait "$qemu" 2>/dev/null
	LAB_QEMU_STATUS=$?
}

# lab_verdict TMP: exits with the command's status, or says why the guest failed.
lab_verdict() {
	local tmp=$1 up='' status='' trouble
	{ read -r up && read -r status; } <"$tmp/status"
	trouble=$(tr -d '\r' 2>/dev/null <"$tmp/console" | grep -aE "$LAB_TROUBLE" |
		{ if [ -n "$LAB_OPT_ALLOW" ]; then grep -avE "$LAB_OPT_ALLOW"; else cat; fi; } | head -n 1)
	if [ -n "$LAB_HUNG" ]; then
		lab_guest_failed "$tmp" "the guest hung: $LAB_HUNG" "$LAB_EXIT_TIMEOUT"
	elif [ -n "$trouble" ]; then
		lab_guest_failed "$tmp" "the guest's kernel was in trouble: $trouble" "$LAB_EXIT_FAILED"
	elif [ "$LAB_QEMU_STATUS" -ne "$LAB_QEMU_DONE" ] || ! [[ $up = up && $status =~ ^[0-9]+$ ]]; then
		lab_guest_failed "$tmp" "the guest went away without a word (QEMU ended with $LAB_QEMU_STATUS)" "$LAB_EXIT_FAILED"
	fi
	exit "$status"
}

lab_guest_failed() {
	local tmp=$1
	if [ -s "$tmp/console" ]; then
		printf '%s\n' '--- the last lines of the console ---' >&2
		tail -c 6000 "$tmp/console" | tail -n 50 | tr -d '\r' >&2
	fi
	if [ -s "$tmp/qemu.log" ]; then
		printf '%s\n' '--- QEMU ---' >&2
		head -n 20 "$tmp/qemu.log" >&2
	fi
	lab_say "$2"
	exit "$3"
}
