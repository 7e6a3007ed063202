# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A whole Debian system, with systemd, udev, DKMS and a kernel with its headers, for what an administrator
# does. It boots from a disk of its own, so that it can be restarted.

LAB_SYSTEM_PACKAGES=systemd-sysv,udev,dbus,linux-image-amd64,linux-headers-amd64,dkms,ndctl,curl,kmod
LAB_SYSTEM_PACKAGES+=,procps,libstdc++6,initramfs-tools,passwd
LAB_SYSTEM_SIZE=3G

# lab_system_root SUITE: prints the folder that has it, which is made when it is missing.
lab_system_root() {
	local suite=$1 root part
	root=$LAB_CACHE/system-$suite-$(lab_hash "${BASH_SOURCE[0]}") part=$LAB_CACHE/system.part.$$
	if [ ! -e "$root" ]; then
		lab_need_root "making a Debian system" "its packages' scripts run in a chroot"
		command -v mmdebstrap >/dev/null || lab_die "mmdebstrap is missing: apt-get install mmdebstrap"
		lab_find_mirrors
		lab_say "installing Debian $suite: four minutes on two busy processors"
		# Only the drivers of the disk are in its initrd: compressing all takes a minute.
		# shellcheck disable=SC2016 # mmdebstrap sets $1
		mmdebstrap --mode=root --variant=apt --skip=cleanup/reproducible --quiet \
			--aptopt='Apt::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
			--dpkgopt='path-exclude=/usr/share/locale/*' \
			--essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"' \
			--essential-hook='printf "MODULES=list\nCOMPRESS=gzip\n" >"$1/etc/initramfs-tools/conf.d/lab"' \
			--essential-hook='printf "virtio_pci\nvirtio_blk\next4\n" >"$1/usr/share/initramfs-tools/modules.d/lab"' \
			--include="$LAB_SYSTEM_PACKAGES" "$suite" "$part" \
			"deb $LAB_MIRROR $suite main" "deb $LAB_MIRROR_SECURITY $suite-security main" >&2 ||
			{ rm -rf "$part"; lab_die "installing Debian $suite failed"; }
		lab_system_session "$part"
		mv -T "$part" "$root" 2>/dev/null || rm -rf "$part" # another run was first
	fi
	echo "$root"
}

# What runs in it, at each boot: /mnt/session, from the share.
lab_system_session() { # ROOT
	echo lab >"$1/etc/hostname"
	echo '/dev/vda / ext4 defaults 0 1' >"$1/etc/fstab"
	cat >"$1/etc/systemd/system/lab.service" <<-'END'
		[Unit]
		After=systemd-modules-load.service systemd-udev-settle.service dbus.service

		[Service]
		ExecStartPre=mount -t 9p -o trans=virtio,version=9p2000.L lab /mnt
		ExecStart=bash /mnt/session
		StandardOutput=journal+console
		StandardError=journal+console
	END
	mkdir -p "$1/etc/systemd/system/multi-user.target.wants"
	ln -s ../lab.service "$1/etc/systemd/system/multi-user.target.wants/lab.service"
}

# lab_qemu_system ROOT TMP: QEMU's command line, into LAB_QEMU. Unlike `run`'s guests this one may reboot.
lab_qemu_system() {
	local root=$1 tmp=$2 argument kept=()
	mkdir -p "$tmp/kernel"
	cp "$root"/boot/vmlinuz-* "$tmp/kernel/bzImage"
	cp "$root"/boot/initrd.img-* "$tmp/kernel/initrd"
	truncate -s "$LAB_SYSTEM_SIZE" "$tmp/disk"
	mke2fs -q -t ext4 -E lazy_itable_init=1,lazy_journal_init=1 -d "$root" "$tmp/disk" ||
		lab_die "the system's disk cannot be made"
	lab_qemu_machine "$tmp/kernel" "$tmp/kernel/initrd" "$tmp"
	for argument in "${LAB_QEMU[@]}"; do
		[ "$argument" = -no-reboot ] || kept+=("$argument")
	done
	LAB_QEMU=("${kept[@]}"
		-drive "file=$tmp/disk,format=raw,if=virtio,cache=unsafe")
	lab_qemu_nvdimms "$tmp"
	lab_qemu_share lab "$tmp/share"
}

# lab_system_run ROOT COMMAND...: runs COMMAND in a chroot on ROOT, with mounts that end with it.
lab_system_run() {
	setpriv --pdeathsig KILL -- unshare --mount --pid --fork --kill-child --propagation private \
		/bin/sh -euc '
			root=$1; shift
			mount -t proc proc "$root/proc"
			mount -t tmpfs -o mode=755 tmpfs "$root/dev"
			for node in null zero random urandom; do
				touch "$root/dev/$node"
				mount --bind "/dev/$node" "$root/dev/$node"
			done
			ln -s /proc/self/fd "$root/dev/fd"
			exec env -i PATH=/usr/sbin:/usr/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
				chroot "$root" "$@"
		' sh "$@"
}
