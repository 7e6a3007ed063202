# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# One stock Debian kernel in the cache: $LAB_CACHE/kernel/K/
#   abi       what uname -r will say
#   vmlinux   the uncompressed kernel, which QEMU starts through PVH
#   modules/  /usr/lib/modules/<abi>, with the files depmod makes
# Its headers go into the lab's root, at the absolute path they insist on.

# Sets ABI and DIR of the kernel whose packages LIST names.
lab_kernel_names() { # K LIST
	local image
	image=$(cut -d' ' -f1 "$2" | grep -E '^linux-image-[0-9]')
	ABI=${image#linux-image-} ABI=${ABI%%_*}
	DIR=${image#*_} DIR=$LAB_CACHE/kernel/$1-${DIR%_*}
}

# lab_kernel_missing K LIST: bytes to fetch before lab_kernel_setup can work.
lab_kernel_missing() {
	local ABI DIR
	lab_kernel_names "$1" "$2"
	if [ -e "$DIR" ] && lab_kernel_has_headers "$2"; then echo 0; else lab_apt_missing "$2"; fi
}

# lab_kernel_setup K LIST
lab_kernel_setup() {
	local k=$1 list=$2 ABI DIR part=$LAB_CACHE/kernel/$1.part
	lab_kernel_names "$k" "$list"
	if [ ! -e "$DIR" ] || ! lab_kernel_has_headers "$list"; then
		lab_apt_fetch "$list"
		lab_say "unpacking kernel $k ($ABI)"
		lab_kernel_headers "$list"
	fi
	if [ ! -e "$DIR" ]; then
		rm -rf "$part"
		mkdir -p "$part"
		lab_kernel_unpack "$list" "$part"
		echo "$ABI" >"$part/abi"
		mv "$part" "$DIR"
	fi
	lab_point "$LAB_CACHE/kernel/$k" "${DIR##*/}"
}

lab_kernel_unpack() { # LIST PART
	local part=$2 tree=$2/tree file
	mkdir "$tree"
	lab_kernel_unpack_images "$1" "$tree"
	# 6.12 moved the modules under /usr, 7.3 the image as well
	for file in "$tree"/{boot/vmlinuz-$ABI,usr/lib/modules/$ABI/vmlinuz}; do
		[ ! -e "$file" ] || lab_kernel_vmlinux "$file" "$part/vmlinux"
	done
	for file in "$tree"/{,usr/}lib/modules/$ABI; do
		[ ! -e "$file/kernel" ] || mv "$file" "$part/modules"
	done
	rm -rf "$tree"
	lab_kernel_depmod "$part/modules" "$ABI"
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
	for deb in $(lab_kernel_header_debs "$1"); do
		[ ! -e "$root/var/lib/lab/$deb" ] || continue
		dpkg-deb -x "$LAB_CACHE/debs/$deb" "$root" || lab_die "unpacking $deb failed"
		mkdir -p "$root/var/lib/lab"
		: >"$root/var/lib/lab/$deb"
	done
}

lab_kernel_has_headers() {
	local deb
	for deb in $(lab_kernel_header_debs "$1"); do
		[ -e "$LAB_CACHE/root/var/lib/lab/$deb" ] || return 1
	done
}

lab_kernel_header_debs() { cut -d' ' -f1 "$1" | grep -E '^linux-(headers|kbuild)-[0-9]'; }
