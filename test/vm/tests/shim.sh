# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The native shim's DMA engine on the kernel module and the stock driver, with the compiler's
# sanitizers where it has them.

# shellcheck source=../lib/shim.sh
. "$LAB_DIR/lib/shim.sh"

build_sanitized() {
	build_shim tests -fsanitize=address,undefined -fno-sanitize-recover=all -static-libasan -static-libubsan
}

if [ -n "$(gcc -print-file-name=libasan.a | grep /)" ]; then
	check "builds with the address sanitizer" build_sanitized
else
	skip "the address sanitizer" "this compiler has none"
	check "builds" build_shim tests -static
fi
check "on four channels" test_shim tests --channels 4 --
