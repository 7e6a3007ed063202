# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The I/OAT device goes while a client streams: pulled out, or unbound. What the stock
# driver warns of meanwhile is its own affair; the client must be told no lie.

# nohz=off: the driver resets the channel out of its timer, where it waits for jiffies to
# pass. Called from idle, with no other processor awake, they do not, and it waits for
# ever.
pulled_out() {
	run --module "$LAB_DIR/client" --allow 'WARNING: .*ioat' --timeout 400 --append nohz=off -- bash -c '
		. /repo/test/vm/tests/guest/copies.sh
		fault remove@21
		copy copies=40 depth=4 max_channels=1 timeout_ms=6000
		expect good -ge 16 && expect good -le 20 && expect wrong -eq 0'
}
check "pulled out: nothing is reported done that was not" pulled_out

unbound() {
	run --module "$LAB_DIR/client" -- bash -c '
		. /repo/test/vm/tests/guest/copies.sh
		copy copies=10 && expect good -eq 10
		cd /sys/bus/pci/drivers/ioatdma && device=$(echo 0000:*) && echo "$device" >unbind
		! copy copies=10 2>/dev/null
		echo "$device" >bind && copy copies=10 && expect good -eq 10'
}
check "unbound and bound again" unbound

# The driver warns of the device that it asks for anew.
module_pulled_out() {
	status_is 0 "$LAB_DIR/kernel/test" --kernel "$LAB_KERNEL" --allow 'WARNING: .*ioat' --append nohz=off pulled_out &&
		says "1 passed, 0 failed, 0 skipped"
}
check "pulled out under the module" module_pulled_out
