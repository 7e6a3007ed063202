# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Thousands of verified copies through the stock driver.

copies() { # COUNT RUN-OPTION...
	local count=$1
	shift
	run --module "$LAB_DIR/client" "$@" -- bash -c '
		. /repo/test/vm/tests/guest/copies.sh
		copy copies='"$count"' depth=4 && expect channels -gt 1 && expect good -eq '"$count"' &&
		copy copies=500 depth=32 max_size=4096 && expect good -eq 500 &&
		copy copies=20 depth=2 max_size=4194304 && expect good -eq 20'
}
check "with MSI-X" copies 4000
check "with MSI" copies 1000 --msi --channels 4
check "behind an IOMMU" copies 2000 --iommu
check "over two devices" copies 1000 --channels 8

# Shows that the IOMMU is really there: a raw physical address gets nowhere. Of copies
# that fail one after the other the driver takes only the first for the one that failed.
unmapped() {
	run --iommu --module "$LAB_DIR/client" -- bash -c '
		. /repo/test/vm/tests/guest/copies.sh
		copy copies=8 depth=1 map=N && expect good -eq 0 && expect aborted -ge 1 && expect read_failed -ge 2 &&
		copy copies=8 map=Y && expect good -eq 8'
}
check "an IOMMU refuses what was not mapped" unmapped
