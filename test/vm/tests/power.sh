# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The guest restarts while requests are in flight, and its kernel says nothing bad before.

restart() {
	status_is 1 "$LAB_DIR/kernel/test" --kernel "$LAB_KERNEL" --env LAB_RESTART=1 power_restart &&
		says "the guest went away without a word (QEMU ended with 0)"
}
check "restarted under requests of the module" restart
