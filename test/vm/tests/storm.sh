# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Transfers by DMA under random faults; LAB_STORM says how many.

storm() {
	run --module "$LAB_REPO/kernel" --channels 4 --cpus 2 --size 64MiB --timeout 7200 -- \
		sh -c 'insmod /modules/ioat-dma.ko && exec host node /repo/test/vm/tests/guest/storm.mjs '"${LAB_STORM:-300}"
}

if [ -e "$LAB_REPO/dist/services/daemon/main.js" ] && [ -e "$LAB_REPO/native-shim/build/libdma_shim.so" ]; then
	check "no transfer says succeeded with wrong bytes" storm
else
	skip "transfers under random faults" "not built: npm run build"
fi
