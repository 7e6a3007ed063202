# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The debug kernel: Debian's source with the checks of debug-kernel/config, compiled in
# the lab's root. In the cache it looks as the stock ones do (kernel.sh), and beside that
#   bzImage    which QEMU starts: entered through PVH, KASAN's checks in the entry code
#              itself would want their shadow before there is one
#   headers/   what modules are built with, which setup links into the root

# Debian 13's own kernel, because the root's gcc-14 is its compiler.
LAB_DEBUG_SOURCE=linux-source-6.12/trixie-security
LAB_DEBUG_CONFIG=$LAB_DIR/debug-kernel/config

# lab_debug_source: the source package, as lab_apt_fetch wants it.
lab_debug_source() {
	local lines
	lines=$(lab_apt apt-get -qq download --print-uris "$LAB_DEBUG_SOURCE" | lab_apt_uris)
	[ -n "$lines" ] && echo "$lines"
}

# Sets NAME of the debug kernel made from the package in LIST.
lab_debug_name() {
	local deb
	read -r deb _ <"$1"
	deb=${deb#*_}
	NAME=debug-${deb%_all.deb}-$(lab_hash "$LAB_DEBUG_CONFIG")
}

# lab_debug_missing LIST: bytes to fetch before lab_debug_setup LIST can work.
lab_debug_missing() {
	local NAME
	lab_debug_name "$1"
	if [ -e "$LAB_CACHE/kernel/$NAME" ]; then echo 0; else lab_apt_missing "$1"; fi
}

# lab_debug_setup LIST
lab_debug_setup() {
	local list=$1 NAME dir build
	lab_debug_name "$list"
	dir=$LAB_CACHE/kernel/$NAME build=$LAB_CACHE/kernel/$NAME.build
	if [ ! -e "$dir" ]; then
		lab_debug_unpack "$list" "$build"
		lab_debug_compile "$build" "${NAME##*-}"
		lab_debug_collect "$build" "$build.part"
		mv "$build.part" "$dir"
		rm -rf "$build"
	fi
	lab_debug_headers "$dir"
	lab_point "$LAB_CACHE/kernel/debug" "$NAME"
}

# The tree without the parts that the configuration leaves out, which are most of it:
# their Kconfig files and Makefiles have to be there.
lab_debug_unpack() { # LIST BUILD
	local deb build=$2 top=${LAB_DEBUG_SOURCE%%/*} part skip=()
	[ ! -e "$build" ] || return 0
	lab_apt_fetch "$1"
	read -r deb _ <"$1"
	lab_say "unpacking $deb"
	for part in drivers/{gpu,net/ethernet,net/wireless,media,infiniband,staging,iio,usb,scsi,mtd,hwmon,clk,pinctrl} \
		fs/{xfs,btrfs,ext4,ocfs2,f2fs,nfs,smb} net/{bluetooth,mac80211,netfilter,wireless} sound; do
		skip+=(--exclude="$top/$part/*.[ch]")
	done
	skip+=(--exclude='*.dts' --exclude='*.dtsi' --exclude="$top/arch/[!x]*/*.[chS]"
		--exclude="$top/Documentation/*/*" --exclude="$top/tools/testing/*" --exclude="$top/tools/perf/*")
	rm -rf "$build.part"
	mkdir -p "$build.part"
	lab_exec_argv /usr/bin/xz
	dpkg-deb --fsys-tarfile "$LAB_CACHE/debs/$deb" | tar -xO --wildcards '*.tar.xz' |
		"${LAB_ARGV[@]}" -dc | tar -x -C "$build.part" --strip-components=1 "${skip[@]}" ||
		lab_die "unpacking $deb failed; is the disk full?"
	mv "$build.part" "$build"
}

lab_debug_make() { # BUILD ARGUMENT...
	local build=$1
	shift
	# its date and user would make every build another
	lab_root_run "$build" make CC=gcc-14 HOSTCC=gcc-14 \
		KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_USER=lab KBUILD_BUILD_HOST=lab "$@"
}

# make goes on where it was, should it have been interrupted.
lab_debug_compile() { # BUILD KEY
	local build=$1 option
	if [ ! -e "$build/.config" ]; then
		{ cat "$LAB_DEBUG_CONFIG"; echo "CONFIG_LOCALVERSION=\"-debug-$2\""; } >"$build/lab.config"
		lab_debug_make "$build" -s KCONFIG_ALLCONFIG=lab.config allnoconfig >&2 ||
			lab_die "the debug kernel cannot be configured"
	fi
	# what depends on something else that is off is left out without a word
	while read -r option; do
		grep -qxF "$option" "$build/.config" || lab_die "$LAB_DEBUG_CONFIG: the kernel does not take $option"
	done < <(grep ^CONFIG_ "$build/lab.config")
	lab_say "compiling the debug kernel: 25 minutes of processor time on $(nproc) processors"
	# no pipeline: make has to be this shell's own child, to end with it
	if ! lab_debug_make "$build" -j"$(nproc)" bzImage modules > >(lab_debug_progress) 2>"$build/lab.errors"; then
		tail -n 20 "$build/lab.errors" >&2
		lab_die "compiling failed; what was compiled is kept"
	fi
}

lab_debug_progress() {
	local started=$SECONDS said=$SECONDS files=0 line
	while read -r line; do
		case $line in
		CC\ * | AS\ *) files=$((files + 1)) ;;
		esac
		if [ $((SECONDS - said)) -ge 15 ]; then
			said=$SECONDS
			lab_say "$files files after $((SECONDS - started)) s; now ${line##* }"
		fi
	done
}

lab_debug_collect() { # BUILD PART
	local build=$1 part=$2 abi
	rm -rf "$part"
	mkdir -p "$part"
	abi=$(<"$build/include/config/kernel.release")
	echo "$abi" >"$part/abi"
	lab_debug_make "$build" -s INSTALL_MOD_PATH=lab.modules DEPMOD=true modules_install >&2 ||
		lab_die "collecting the debug kernel's modules failed"
	mv "$build/lab.modules/lib/modules/$abi" "$part/modules"
	rm -f "$part/modules"/{build,source}
	lab_kernel_depmod "$part/modules" "$abi"
	mv "$build/vmlinux" "$build/arch/x86/boot/bzImage" "$part"
	# scripts/ has programs that kbuild runs, all else is there to be included
	find "$build" -type f ! -path "$build/scripts/*" ! -path "$build/tools/objtool/objtool" \
		! -name '*.h' ! -name 'Makefile*' ! -name 'Kbuild*' ! -name 'Kconfig*' ! -name '*.lds' \
		! -name '*.config' ! -name .config ! -name Module.symvers ! -path "$build/include/config/*" -delete
	find "$build" -type d -empty -delete
	mv "$build" "$part/headers"
}

# Linked, not copied, to where build-module looks for every kernel's.
lab_debug_headers() { # DIR
	local root headers
	root=$(lab_root_dir) || exit
	headers=$root/usr/src/linux-headers-$(<"$1/abi")
	[ -e "$headers" ] || { cp -al "$1/headers" "$headers.part" && mv "$headers.part" "$headers"; } ||
		lab_die "cannot link the debug kernel's headers into $root"
}
