# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The daemon of this checkout on the kernel module and the stock driver.

dma() {
	run --module "$LAB_REPO/kernel" --channels 4 --cpus 2 --size 256MiB --timeout 900 "$@" -- \
		sh -c 'insmod /modules/ioat-dma.ko && exec host node /repo/test/vm/tests/guest/dma.mjs'
}

if [ -e "$LAB_REPO/dist/services/daemon/main.js" ] && [ -e "$LAB_REPO/native-shim/build/libdma_shim.so" ]; then
	check "transfers by DMA, faults, and hardware that goes and comes back" dma
else
	skip "transfers by DMA" "not built: npm run build"
fi
