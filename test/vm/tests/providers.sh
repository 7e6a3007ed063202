# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A second provider of DMA channels beside ioatdma: shown with the reason if the module does not
# use it; if it does, each takes over what the other leaves in mid-stream.

providers() {
	run --module "$LAB_REPO/kernel" --module "$LAB_DIR/kernel/modules" --channels 1 --cpus 2 --size 256MiB --timeout 900 -- sh -ec '
		insmod /modules/lab_dma.ko delay=90
		insmod /modules/ioat-dma.ko
		host node /repo/test/vm/tests/guest/providers.mjs refused
		rmmod ioat_dma
		insmod /modules/ioat-dma.ko drivers=ioatdma,lab_dma
		host node /repo/test/vm/tests/guest/providers.mjs used'
}

if [ -e "$LAB_REPO/dist/services/daemon/main.js" ] && [ -e "$LAB_REPO/native-shim/build/libdma_shim.so" ]; then
	check "a second provider of channels" providers
else
	skip "a second provider of channels" "not built: npm run build"
fi
