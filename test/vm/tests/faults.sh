# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Each fault does what ioat-model/README.md says, by what the stock driver makes of it.

check "each fault, from inside the guest" \
	run --module "$LAB_DIR/client" --timeout 400 -- bash /repo/test/vm/tests/guest/faults.sh

# Copy 1 is the driver's self-test, and a channel that fails it is not registered.
from_the_start() {
	run --fault 'corrupt@1' -- sh -c '[ ! -e /sys/class/dma/dma0chan0 ] && dmesg | grep "Self-test copy failed compare"'
}
check "a fault from the start on" from_the_start

wrong_spec() { status_is 125 run --fault nonsense -- true && says "no such fault: nonsense"; }
check "a fault that there is not" wrong_spec

