# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What every command of the lab shares: where things lie, how it speaks, and the
# one table of kernels. Sourced, never run.

LAB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LAB_REPO=$(cd "$LAB_DIR/../.." && pwd)
LAB_CACHE=${DMAD_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dmad-lab}

# The lab's own failures, set apart from COMMAND's statuses the way env(1),
# timeout(1) and docker-run(1) do it.
LAB_EXIT_TIMEOUT=124
LAB_EXIT_FAILED=125

# Debian's kernels, each from the suite that carries its security fixes. The ABI
# name changes with nearly every update and old ones leave the mirror, so setup
# asks the suite's linux-image-amd64 for it and nothing here names one.
LAB_KERNELS=(5.10 6.1 6.12 7.3)

lab_suite_of() {
	case $1 in
	5.10) echo bullseye-security ;;
	6.1) echo bookworm-security ;;
	6.12) echo trixie-security ;;
	7.3) echo trixie-backports ;;
	*) return 1 ;;
	esac
}

# The debug kernel goes by a name of its own, and is in no list of all.
lab_check_kernel() {
	[ "$1" = debug ] || lab_suite_of "$1" >/dev/null ||
		lab_die "no such kernel: $1 (there are: ${LAB_KERNELS[*]} debug)"
}

lab_say() { printf 'lab: %s\n' "$*" >&2; }

lab_die() {
	lab_say "$*"
	exit "$LAB_EXIT_FAILED"
}

lab_need_root() {
	[ "$(id -u)" -eq 0 ] || lab_die "$1 must run as root: $2 (README.md, \"Why root\")"
}

# lab_hash FILE... : a key made of the files' contents and names.
lab_hash() {
	local file
	for file in "$@"; do
		printf '%s\n' "${file##*/}"
		cat "$file"
	done | sha256sum | cut -c1-16
}

# One writer of the cache at a time; readers need no lock, because everything in
# it is made beside its final name and renamed into place when it is whole.
lab_lock_cache() {
	mkdir -p "$LAB_CACHE"
	exec {LAB_LOCK_FD}>"$LAB_CACHE/.lock"
	if ! flock -n "$LAB_LOCK_FD"; then
		lab_say "another setup holds $LAB_CACHE; waiting for it"
		flock "$LAB_LOCK_FD"
	fi
}

# lab_point LINK TARGET: makes LINK name TARGET, with no moment in which it names nothing.
lab_point() { ln -sfn "$2" "$1.new" && mv -T "$1.new" "$1"; }

# lab_kernel_dir K, lab_root_dir: where setup put things; both fail where it did not.
lab_kernel_dir() {
	[ -e "$LAB_CACHE/kernel/$1/abi" ] ||
		lab_die "kernel $1 is not set up: run 'npm run lab:setup -- --kernel $1' first"
	readlink -f "$LAB_CACHE/kernel/$1"
}

lab_root_dir() {
	[ -e "$LAB_CACHE/root/usr/bin/qemu-system-x86_64" ] ||
		lab_die "the lab is not set up: run 'npm run lab:setup' first"
	readlink -f "$LAB_CACHE/root"
}

# lab_exec_argv PROGRAM: sets LAB_ARGV to what starts the root's PROGRAM on this
# machine with no chroot: its own loader with its own libraries, which are newer
# than Debian 12's.
lab_exec_argv() {
	local root lib
	root=$(lab_root_dir) || exit
	lib=$root/usr/lib/x86_64-linux-gnu
	# --argv0 because kmod is one program that goes by its name.
	LAB_ARGV=("$lib/ld-linux-x86-64.so.2" --argv0 "${1##*/}"
		--library-path "$lib" "$root$1")
}
