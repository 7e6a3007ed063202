# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The lab's root: a folder of Debian 13 packages, unpacked and not installed (no
# maintainer script runs). It serves three ends: QEMU runs from it through its own
# loader; gcc-14 builds the model and the modules in it; and its /usr is the guest's.

LAB_ROOT_PACKAGES=(
	# runs on this machine
	qemu-system-x86
	# builds the model and the modules of all four kernels; 6.12's and 7.3's
	# headers want pahole, 7.3's objtool wants libelf, W=1 perl and C=1 sparse
	gcc-14 libc6-dev make pahole libelf1t64 perl sparse
	# builds the debug kernel, with xz-utils
	flex bison bc libelf-dev
	# serves in the guest, and in setup
	busybox-static kmod ndctl daxctl xz-utils zstd cpio
	# copies in the guest as a peer of the bench
	pmdk-tools
	# a userland for make and for the guest, which no dependency names
	base-files bash coreutils dash sed grep mawk findutils diffutils util-linux gdbserver strace
)

lab_root_key() { cut -d' ' -f1 "$1" | sort | sha256sum | cut -c1-12; }

# lab_root_missing LIST: bytes to fetch before lab_root_setup LIST can work.
lab_root_missing() {
	if [ -e "$LAB_CACHE/root-$(lab_root_key "$1")" ]; then echo 0; else lab_apt_missing "$1"; fi
}

# lab_root_setup LIST: makes $LAB_CACHE/root from the packages of LIST.
lab_root_setup() {
	local list=$1 root part
	root=$LAB_CACHE/root-$(lab_root_key "$list") part=$LAB_CACHE/root.part
	if [ ! -e "$root" ]; then
		lab_apt_fetch "$list"
		lab_say "unpacking $(wc -l <"$list") packages: QEMU, gcc-14 and the guest's userland"
		rm -rf "$part"
		lab_root_skeleton "$part"
		cut -d' ' -f1 "$list" | sed "s|^|$LAB_CACHE/debs/|" |
			xargs -d '\n' -P 2 -I '{}' dpkg-deb -x '{}' "$part" ||
			lab_die "unpacking failed; is the disk full?"
		# what the packages' maintainer scripts would have linked
		ln -s mawk "$part/usr/bin/awk"
		mv "$part" "$root"
	fi
	lab_point "$LAB_CACHE/root" "${root##*/}"
}

# The merged /usr's links have to be there before any package is unpacked, and the
# folders that something is mounted on, since the guest sees /usr read-only.
lab_root_skeleton() {
	local root=$1 dir
	mkdir -p "$root"/usr/{bin,sbin,lib,lib64,src} "$root"/usr/lib/modules \
		"$root"/{dev,proc,sys,tmp,mnt,etc,run}
	for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$root/$dir"; done
}

# lab_root_run DIR COMMAND...: runs COMMAND in the root, with DIR at
# /mnt. The mounts are made in a mount namespace of their own and end with COMMAND;
# nothing of this machine's /dev is bound but null. COMMAND and all it started end with
# the shell that called: unshare itself takes no notice of SIGTERM and SIGINT.
lab_root_run() {
	local dir=$1 root
	shift
	root=$(lab_root_dir) || exit
	setpriv --pdeathsig KILL -- unshare --mount --pid --fork --kill-child --propagation private \
		/bin/sh -euc '
			root=$1 dir=$2; shift 2
			mount --bind "$dir" "$root/mnt"
			mount -t proc proc "$root/proc"
			mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
			mount -t tmpfs -o mode=755 tmpfs "$root/dev"
			mknod -m 666 "$root/dev/null" c 1 3
			mknod -m 666 "$root/dev/zero" c 1 5
			exec env -i PATH=/usr/bin:/usr/sbin HOME=/tmp LC_ALL=C.UTF-8 \
				chroot "$root" sh -c '\''cd /mnt; exec "$@"'\'' sh "$@"
		' sh "$root" "$dir" "$@"
}

# lab_clean: drops packages, old kernels, old roots and what was built for them.
lab_clean() {
	local dir keep
	rm -rf "$LAB_CACHE/debs" "$LAB_CACHE/apt" "$LAB_CACHE/built"
	keep=$(for dir in "$LAB_CACHE"/root "$LAB_CACHE"/kernel/*; do readlink "$dir" || true; done)
	for dir in "$LAB_CACHE"/root-* "$LAB_CACHE"/kernel/*-*; do
		grep -qxF "${dir##*/}" <<<"$keep" || rm -rf "$dir"
	done
}
