# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The I/OAT model: built when its sources change, started before QEMU.

# lab_model_build: prints the path of the program. Static, so it runs on this machine
# though it was built in the lab's root.
lab_model_build() {
	local out sources=("$LAB_DIR"/ioat-model/{*.[ch],Makefile})
	out=$LAB_CACHE/built/ioat-model-$(lab_hash "${sources[@]}")
	if [ ! -e "$out/ioat-model" ]; then
		lab_need_root "building the I/OAT model" "it chroots into the lab's root"
		rm -rf "$out.$$"
		mkdir -p "$out.$$"
		cp "${sources[@]}" "$out.$$"
		lab_root_run "$out.$$" make -s CC=gcc-14 O=. ./ioat-model >&2 ||
			lab_die "building the I/OAT model failed"
		mv -T "$out.$$" "$out" 2>/dev/null || rm -rf "$out.$$" # another run was first
	fi
	echo "$out/ioat-model"
}

# lab_model_start TMP: listening when it returns, because QEMU does not try twice.
lab_model_start() {
	local tmp=$1 argv i fault program
	program=$(lab_model_build) || exit
	argv=("$program" --channels "$LAB_OPT_CHANNELS" --control "$tmp/fault.sock")
	[ "$LAB_OPT_MSI" = 0 ] || argv+=(--msi)
	for fault in "${LAB_OPT_FAULTS[@]}"; do argv+=(--fault "$fault"); done
	for ((i = 0; i * 4 < LAB_OPT_CHANNELS; i++)); do argv+=("$tmp/ioat$i.sock"); done
	start "${argv[@]}" >"$tmp/model.log" 2>&1
	for ((i = 0; i < 100; i++)); do
		[ ! -S "$tmp/fault.sock" ] || return 0
		kill -0 "${children[-1]}" 2>/dev/null || break
		sleep 0.1
	done
	lab_die "the I/OAT model did not start: $(cat "$tmp/model.log")"
}
