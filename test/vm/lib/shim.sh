# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# For tests of the native shim's DMA engine on the kernel module and the stock driver.

sources=("$LAB_REPO"/native-shim/src/*/*.c "$LAB_REPO"/test/native/harness.c "$LAB_DIR"/shim/*.c)
mkdir "$LAB_TEST_TMP/share"
# The debug kernel takes up to a minute to take ioatdma's descriptors apart, among other things.
slowness=1
[ "$LAB_KERNEL" != debug ] || slowness=10

# build_shim NAME FLAG...: the tests with the library in them. The guest's C library is another one:
# what is not linked statically must be in both.
build_shim() {
	local name=$1
	shift
	gcc -std=gnu11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Werror -pthread \
		-DLIMIT_SECONDS=$((120 * slowness))u -DLAB_SLOWNESS=$slowness \
		-DSHIM_VERSION='"lab"' -I"$LAB_REPO/kernel/include/uapi" "$@" -o "$LAB_TEST_TMP/share/$name" "${sources[@]}"
}

# test_shim NAME RUN-OPTION... -- TEST...: names are parts of tests' names.
test_shim() {
	local name=$1 options=()
	shift
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	run --module "$LAB_REPO/kernel" --cpus 2 --size 256MiB --timeout $((900 * slowness)) --share "$LAB_TEST_TMP/share" \
		"${options[@]}" -- test/vm/shim/in-guest "/share/$name" "$@"
}
