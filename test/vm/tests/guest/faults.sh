# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# In the guest: one fault after the other, 40 copies in batches of 4 each.
set -e
# shellcheck source=copies.sh
. /repo/test/vm/tests/guest/copies.sh

strike() { # SPEC NAME=VALUE...
	echo "--- $*"
	fault clear
	fault "$1"
	forget
	shift
	copy copies=40 depth=4 "$@"
}
# what a copy after it must find
well() {
	fault clear
	copy copies=40
	expect good -eq 40
}

strike corrupt=3@5
expect wrong -eq 1 && expect good -eq 39
well

strike delay=100ms@3x4
expect good -eq 40
well

# The two that the driver recovers from at once: the copy fails, those behind it in the
# same batch are thrown out.
strike error=0x100@6
expect read_failed -eq 1 && expect aborted -eq 2 && expect good -eq 37
well
strike error=0x200@6
expect write_failed -eq 1 && expect aborted -eq 2 && expect good -eq 37
well

# Any other error is left to the driver's timer, which resets the channel; the callback
# of the copy that failed never comes.
strike error=0x400@6 timeout_ms=10000
said 'Channel halted \(400\)' && said 'Descriptor Control Error' && said 'Reset channel'
expect lost -ge 1 && expect wrong -eq 0
well

strike hang@6 timeout_ms=10000
said 'Reset channel'
expect lost -ge 1 && expect wrong -eq 0
well

# The last of a batch: no later completion covers for it.
strike lost-completion@4 timeout_ms=10000
said 'Reset channel'
expect lost -ge 1 && expect wrong -eq 0
well

# The driver's timer, or a poll, finds the copy done.
strike lost-irq@4 timeout_ms=20000
expect good -eq 40
fault status | grep -q 'lost-irq.*struck 1'
well

if fault error=0x101 || fault nonsense; then
	echo "FAILED: a fault that must not be was taken" >&2
	exit 1
fi
