# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Modules for the guest's kernels.

# lab_module_make K DIR TARGET ARGUMENT...: kbuild on DIR, in the root, with its gcc-14.
# The compiler is named because the headers would ask for the one of their own suite,
# and W=1 is the caller's to ask for. Everything kbuild writes goes into DIR.
lab_module_make() {
	local abi dir=$2 root
	abi=$(<"$(lab_kernel_dir "$1")/abi") || exit
	root=$(lab_root_dir) || exit
	[ -e "$root/usr/src/linux-headers-$abi" ] ||
		lab_die "kernel $1's headers are not set up: run 'npm run lab:setup -- --kernel $1'"
	shift 2
	lab_root_run "$dir" make -s -C "/usr/src/linux-headers-$abi" M=/mnt \
		CC=gcc-14 HOSTCC=gcc-14 "$@"
}

# lab_module_cached K DIR: builds a copy of DIR, once for each kernel and content; prints
# the folder with the modules.
lab_module_cached() {
	local kernel key out part
	kernel=$(lab_kernel_dir "$1") || exit
	key=$(find "$2" -type f | LC_ALL=C sort | xargs -d '\n' cat | sha256sum | cut -c1-16)
	out=$LAB_CACHE/built/${2##*/}-${kernel##*/}-$key part=$LAB_CACHE/built/part.$$
	if [ ! -e "$out" ]; then
		rm -rf "$part"
		mkdir -p "$part"
		cp -r "$2/." "$part"
		lab_module_make "$1" "$part" W=1 modules >&2 || lab_die "building $2 for kernel $1 failed"
		mv -T "$part" "$out" 2>/dev/null || rm -rf "$part"
	fi
	echo "$out"
}
