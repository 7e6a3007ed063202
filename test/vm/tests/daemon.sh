# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The daemon of this checkout on real device-dax devices. It and Node come from the host's
# tree; `npm run build` has to have made them.

if [ -e "$LAB_REPO/dist/services/daemon/main.js" ] && [ -e "$LAB_REPO/native-shim/build/libdma_shim.so" ]; then
	check "a transfer by the CPU engine, flushed" \
		run --timeout 600 -- host node /repo/test/vm/tests/guest/daemon.mjs
else
	skip "a transfer by the CPU engine, flushed" "not built: npm run build"
fi
