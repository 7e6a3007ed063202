# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The initramfs: guest/init, busybox and the modules that mounting over 9p takes. All
# else comes over 9p, so that it is small (2 MB), quick to make and quick to unpack.

# lab_initrd K: prints the path of kernel K's initramfs, made if need be.
lab_initrd() {
	local k=$1 kernel root init=$LAB_DIR/guest/init out tree
	kernel=$(lab_kernel_dir "$k") || exit
	root=$(lab_root_dir) || exit
	out=$LAB_CACHE/built/initrd-${kernel##*/}-${root##*/}-$(lab_hash "$init" "$LAB_DIR/lib/initrd.sh")
	if [ ! -e "$out" ]; then
		mkdir -p "$LAB_CACHE/built"
		tree=$(mktemp -d "$LAB_CACHE/built/tree.XXXXXX")
		mkdir -p "$tree/lab/modules"
		install -m 755 "$root/usr/bin/busybox" "$tree/lab/busybox"
		install -m 755 "$init" "$tree/init"
		lab_initrd_modules "$kernel/modules" "$tree/lab/modules"
		lab_exec_argv /usr/bin/cpio
		(cd "$tree" && find . | "${LAB_ARGV[@]}" --quiet -o -H newc -R 0:0) >"$tree.cpio" ||
			lab_die "making the initramfs failed"
		mv "$tree.cpio" "$out"
		rm -rf "$tree"
	fi
	echo "$out"
}

# Copies the modules in loading order, uncompressed, because busybox's insmod takes
# them one by one. What the kernel has built in is not in modules.dep.
lab_initrd_modules() {
	local modules=$1 out=$2 name file n=10
	lab_exec_argv /usr/bin/xz
	for name in virtio_pci 9pnet_virtio 9p; do
		# modules.dep gives a module's needs so that the last one goes in first
		for file in $(sed -nE "s#^([^:]*/$name\.ko[^:]*):(.*)#\1 \2#p" "$modules/modules.dep" | tr ' ' '\n' | tac); do
			name=${file##*/} name=${name%%.ko*}.ko
			[ -z "$(find "$out" -name "*-$name")" ] || continue
			case $file in
			*.xz) "${LAB_ARGV[@]}" -dc "$modules/$file" >"$out/$n-$name" ;;
			*) cp "$modules/$file" "$out/$n-$name" ;;
			esac
			n=$((n + 1))
		done
	done
}
