# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The daemon of this checkout on real device-dax devices. It and Node come from the host's
# tree; `npm run build` has to have made them.

if [ -e "$LAB_REPO/dist/services/daemon/main.js" ] && [ -e "$LAB_REPO/native-shim/build/libdma_shim.so" ]; then
	check "a transfer by the CPU engine, flushed" \
		run --timeout 600 -- host node /repo/test/vm/tests/guest/daemon.mjs
	check "the CPU engine copies on the destination's NUMA node" \
		run --timeout 600 --cpus 2 --numa --channels 0 --size 256MiB -- \
		host node /repo/test/vm/tests/guest/numa.mjs
else
	skip "a transfer by the CPU engine, flushed" "not built: npm run build"
	skip "the CPU engine copies on the destination's NUMA node" "not built: npm run build"
fi
