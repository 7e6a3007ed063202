# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# One stock Debian kernel in the cache: $LAB_CACHE/kernel/K/
#   abi       what uname -r will say
#   vmlinux   the uncompressed kernel, which QEMU starts through PVH
#   modules/  /usr/lib/modules/<abi>, with the files depmod makes
# Its headers go into the lab's root, at the absolute path they insist on.

# lab_kernel_unpack K LIST
lab_kernel_unpack() {
	local k=$1 list=$2 abi version dir part image tree file
	image=$(cut -d' ' -f1 "$list" | grep -E '^linux-image-[0-9]')
	abi=${image#linux-image-} abi=${abi%%_*}
	version=${image#*_} version=${version%_*}
	dir=$LAB_CACHE/kernel/$k-$version part=$LAB_CACHE/kernel/$k-$version.part
	lab_kernel_headers "$list"
	if [ ! -e "$dir" ]; then
		lab_say "unpacking kernel $k ($abi)"
		rm -rf "$part"
		tree=$part/tree
		mkdir -p "$tree"
		lab_kernel_unpack_images "$list" "$tree"
		# 6.12 moved the modules under /usr, 7.3 the image as well
		for file in "$tree"/{boot/vmlinuz-$abi,usr/lib/modules/$abi/vmlinuz}; do
			[ ! -e "$file" ] || lab_kernel_vmlinux "$file" "$part/vmlinux"
		done
		for file in "$tree"/{,usr/}lib/modules/$abi; do
			[ ! -e "$file/kernel" ] || mv "$file" "$part/modules"
		done
		rm -rf "$tree"
		lab_kernel_depmod "$part/modules" "$abi"
		echo "$abi" >"$part/abi"
		mv "$part" "$dir"
	fi
	ln -sfn "$k-$version" "$LAB_CACHE/kernel/$k.new" &&
		mv -T "$LAB_CACHE/kernel/$k.new" "$LAB_CACHE/kernel/$k"
}

# Leaves out the modules of devices that the guest can never have: they are two
# thirds of a tree, and depmod's time goes with its size.
lab_kernel_unpack_images() {
	local deb skip dir
	for deb in $(cut -d' ' -f1 "$1" | grep -E '^linux-(image|binary|modules|base)-'); do
		skip=()
		for dir in drivers/{gpu,media,net,infiniband,staging,iio,hid,input,isdn,mtd,scsi,usb,thunderbolt,comedi,mmc,leds,power,rtc,watchdog,w1} sound; do
			skip+=(--exclude="*/kernel/$dir/*")
		done
		dpkg-deb --fsys-tarfile "$LAB_CACHE/debs/$deb" | tar -x -C "$2" "${skip[@]}" ||
			lab_die "unpacking $deb failed; is the disk full?"
	done
}

# The compressed kernel inside a bzImage is named by its boot header (Documentation
# of the x86 boot protocol): setup_sects at 0x1f1, payload_offset at 0x248,
# payload_length at 0x24c. Four bytes of size follow the compressed data proper.
# Starting vmlinux spares the guest the decompression: 7.8 s became 4.3 s under TCG.
lab_kernel_vmlinux() {
	local image=$1 out=$2 sectors offset length magic program
	read -r sectors < <(od -An -tu1 -j $((0x1f1)) -N 1 "$image")
	read -r offset length < <(od -An -tu4 -j $((0x248)) -N 8 "$image")
	offset=$(((sectors + 1) * 512 + offset))
	magic=$(od -An -tx1 -j "$offset" -N 4 "$image" | tr -d ' ')
	case $magic in
	fd377a58) program=/usr/bin/xz ;;
	28b52ffd) program=/usr/bin/zstd ;;
	*) lab_die "$image is compressed in a way the lab does not know ($magic)" ;;
	esac
	lab_exec_argv "$program"
	head -c $((offset + length - 4)) "$image" | tail -c $((length - 4)) |
		"${LAB_ARGV[@]}" -q -dc >"$out" || lab_die "cannot unpack the kernel inside $image"
}

lab_kernel_depmod() {
	local modules=$1 abi=$2 base=${1%/*}/base
	mkdir -p "$base/lib/modules"
	mv "$modules" "$base/lib/modules/$abi"
	lab_exec_argv /usr/sbin/depmod
	"${LAB_ARGV[@]}" -b "$base" "$abi" || lab_die "depmod failed for $abi"
	mv "$base/lib/modules/$abi" "$modules"
	rm -rf "$base"
}

# Their paths name the ABI, so several kernels' headers live side by side; a stamp a
# package, in the root itself, since a new root starts without them.
lab_kernel_headers() {
	local deb root
	root=$(lab_root_dir) || exit
	for deb in $(cut -d' ' -f1 "$1" | grep -E '^linux-(headers|kbuild)-'); do
		[ ! -e "$root/var/lib/lab/$deb" ] || continue
		dpkg-deb -x "$LAB_CACHE/debs/$deb" "$root" || lab_die "unpacking $deb failed"
		mkdir -p "$root/var/lib/lab"
		: >"$root/var/lib/lab/$deb"
	done
}
